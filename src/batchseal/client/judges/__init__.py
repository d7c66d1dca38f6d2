"""Judges of signatures in XML and CMS, for `batchseal verify`. They use nothing of the code that writes signatures.

`verdicts` says what a judge tells of a file.
"""
