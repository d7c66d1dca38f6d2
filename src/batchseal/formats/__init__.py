"""Signature formats."""
