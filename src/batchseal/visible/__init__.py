"""The attributes of a visible signature, as requests and the configuration write them, and what they may say.

`parsing` turns them into a `VisibleSignature` (`signature.py`), `velocity` knows the names that a template may have, and
`picture` finds out whether an image is what it says. Nothing here draws: the formats do, with a document and a certificate.
"""
