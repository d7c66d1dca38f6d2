"""Hot folders whose input, output and backup are prefixes of buckets in an object store.

An object store has no rename, and nothing here depends on conditional requests, which several stores ignore. What counts is what
was written under the lease of the input, one object after the other:

    INPUT/name                                   an object to sign
    INPUT/.batchseal/batches/BATCH/list          which objects, with their ETags, are which document of an operation
    INPUT/.batchseal/batches/BATCH/notes/...     what is published under which name, and what of that is there (`notes.py`)
    INPUT/.batchseal/published/DAY/BATCH         lengths and digests of results, for a week (`published.py`)
    OUTPUT/name, BACKUP/name                     results and texts, originals and texts

The way of an object:

    looked at   It lies in the input. Nothing is kept of it but in memory.
    claimed     The list of a batch names it (`claims.py`). It stays where it is, and no look sees it any more.
    taken in    The operation has the id of the batch as its reference, which is taken only once.
    published   A note names the result, its length and its digests; then it is stored under its name, what the store has is
                compared with what was sent, and a second note says that it is there (`publishing.py`).
    kept        The same for the original in the backup.
    ended       The object was deleted from the input, if it still was the one that was claimed. The list goes last.

A start goes on from what the list and the notes say. What is noted and not said to be there is looked for; where it is not found,
it is written again, byte for byte the same.
"""
