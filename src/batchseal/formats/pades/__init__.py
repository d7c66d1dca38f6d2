"""PAdES: signatures inside PDF documents (ETSI EN 319 142, ISO 32000-2 12.8)."""
