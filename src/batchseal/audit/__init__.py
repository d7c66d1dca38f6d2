"""The audit trail: who submitted what, who signed it with which credential, who fetched it; chained, exported, verified.

An entry is written by the transaction that it tells of. The signer process of each instance then appends the waiting entries
to one chain, within about a second: until then an entry is there, and not yet protected.
"""
