"""Clients that public generators make from `openapi.json`, and the calls that they make. Only `make clients` runs them."""
