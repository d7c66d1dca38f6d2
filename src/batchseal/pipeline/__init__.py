"""The way of a document, in six steps. READ THIS FIRST.

    1 receive   The body is scanned while it arrives. Each document comes out as soon as it is complete.    intake/
    2 store     The originals go into one payload for each operation.                                      payloads/
    3 prepare   The format plans the signature and computes the digest that must be signed.                formats/
    4 sign      The digests go to the signing service. Its signatures are verified, then kept.             upstream/
    5 package   The format puts the original, the plan and the signature together.                         formats/
    6 deliver   The signed document is encoded while it is sent.                                           api/

`reception` does steps 2 and 3, `delivery` steps 5 and 6; `worker/service.py` feeds them, and `signer/run.py` does step 4.

Steps 1 to 3 run in a worker process while the body arrives. Step 4 runs in the signer process and can be resumed from what is
stored. Step 3 is repeated there for documents that the worker could not prepare. Steps 5 and 6 run in a worker process when the
result is fetched. Between the processes stand the payload (originals, prepared documents) and Postgres (states, leases,
signatures).

Each step is a folder of its own and takes the type that the step before returned (`document.py`). Only this folder and the run of
the signer know two of them.
"""
