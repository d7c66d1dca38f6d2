"""Batchseal: an on-premise proxy that seals batches of documents with a remote signing service."""

__version__ = "0.2.0"
