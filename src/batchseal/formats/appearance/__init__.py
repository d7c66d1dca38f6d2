"""How a visible signature looks: from a template, a certificate and an image to PDF objects that the planner copies.

`values` says what the names of a template stand for, `layout` puts text and image into the area, `font` cuts the subset of a
font, `image` encodes a picture, `plan` makes the objects of all of them, and `cache` keeps what was made. Nothing here knows a
document: what a document demands (PDF/A, its output intent) comes as rules, which the planner finds.

A mistake raises VisibleSignatureImpossible, whose cause is for a person.
"""
