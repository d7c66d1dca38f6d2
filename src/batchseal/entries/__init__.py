"""Ways for documents to come in that are not HTTP: files in folders.

A process of its own watches the folders (`watcher.py`), so that a network mount that hangs holds up nobody else, and a service
without hot folders pays nothing. It hands documents to the same `take_in` as a request does, as operations of the mode
HOT_FOLDER.

The way of a file:

    input/name ──► ready ──► input/.batchseal/BATCH/files/name ──► an operation ──► output/name, and the original in backup/name
               looks.py   rename, then the list is written     batch.py        publishing.py
                          claims.py

    looked at   The file lies in the input folder. Nothing is kept of it but in memory.
    claimed     It lies in the folder of its batch. Until the list of the batch is durable, no operation can have it.
    taken in    The list is durable, and the operation has the id of the batch as its reference. So it can be found again.
    published   What was written aside is durable, a note says so, and it was renamed. The note alone decides whether it is done:
                nobody asks whether the file is still in the output folder.
    ended       The original is in the backup folder. The folder of the batch goes with its last original.

Each step is one rename or one durable write, and the next start goes on from wherever the one before it was cut off. What the
state of a file is says where its original lies; whether its result is published says its note.

Several instances on one database have one lease for each input folder, which is known by a file in it (`leases.py`).
"""
