"""Compares two services that should answer alike: the original product and this one, or two releases, for `batchseal compare`.

    sides         one of the two services: how it is reached, its answers, and how long they took
    replies       what differs between two answers: their status, their fields, and the values of these
    properties    what can be seen of the signatures in a signed file, for PDF, XML and CMS
    findings      what was found, and whether a client could notice it
    run           sends the same documents to both in turns, and collects the findings

Nothing here belongs to the code that signs: signatures are read with pyHanko, asn1crypto and lxml, as in `judges`.
"""
