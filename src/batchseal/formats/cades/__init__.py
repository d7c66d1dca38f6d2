"""CAdES signatures: a CMS beside any document (detached, `.p7s`), or around it (attached, `.p7m`).

`cades` is the format. `wrapping` puts a document into the CMS without copying it.
"""
