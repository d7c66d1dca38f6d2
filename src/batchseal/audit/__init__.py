"""The audit trail: who handed in which documents, with which credential they were signed, and who fetched them.

An entry is written in the same transaction as the event that it describes. Within about a second, the signer process of the
instance appends it to the chain, of which there is one for all instances. Until then the entry exists, but is not protected
against changes.
"""
