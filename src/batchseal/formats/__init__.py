"""Signature formats: how a signature gets into a document, or beside it.

`interface` is what every format implements, `registry` knows them all. The pipeline, the signer and the worker use these two and
no format by its name. Formats do not know where documents are stored, who signs, or who asked.
"""
