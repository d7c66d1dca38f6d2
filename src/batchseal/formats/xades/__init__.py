"""XAdES signatures: a signature in an XML document, which stays as it was around one insertion.

`xades` is the format. `canonical` says everything about a document that a signature needs to know, and is the one door to what
reads XML: another canonicaliser takes the place of the one there. `template` writes the signature. `location` reads what names
the parent of the signature.
"""
