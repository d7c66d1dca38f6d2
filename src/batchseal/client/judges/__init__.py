"""Judges of signatures in PDF, XML and CMS, for `batchseal verify`. They use nothing of the code that writes signatures.

`verdicts` says what a judge tells of a file. `pdf`, `xml` and `cms` judge the signature itself. `pdf`, `unsigned_properties` (XML)
and `unsigned_attributes` (CMS) find what its level rests on, with `tokens` for time stamps. `levels` says which level is reached,
by what `material` finds of chains (`chains`) and of revocation (`revocation`).
"""
