"""Operations, documents and leases in PostgreSQL: the only folder that holds SQL.

    from batchseal.store import NewDocument, NewOperation, Store

Nothing here knows where a payload lies or how it is signed; nothing elsewhere knows a table. What is true about an
operation is what these rows say: a process that died held no truth.

How an operation moves (status, lease, fence). A lease is `lease_holder` until `lease_until`, by the database's clock; the
fence is a number that grows whenever somebody takes the lease, and every write names the fence it was given.

      register                 claim_one (woken)             set_status(EXECUTED | EXECUTION_FAILED)
    ─────(A)────► PENDING, registration ──(B)──► held ───────────────(C)────────────────► finished
                  lease, fence 1               │ ▲ │ ▲
                        │                      │ │ │ └─(D) renew, record_outcomes: same fence
                        │ 30 s, nobody came    │ │ │
                       (E)                     │ │ └──(F) set_status(EXECUTION_ERROR): tries + 1 ──► waiting until
                        ▼                      │ │                                                   next_try_at
                      free ───(G) claim, claim_one: fence + 1 ──► held ◄──(H) claim when due, claim_one at once ─┘
                        ▲                      │
                        ├──(I) lease_until passed (its worker hangs or is cut off)
                        └──(J) take_back_own_leases: fence + 1 (its worker is dead, the same instance starts again)

A  One transaction: the external reference, the operation, its documents. Refused ones are ERROR_SIGNING from the start.
B  Only the instance that holds the payload claims, so the signer it woke finds the operation free.
C  Clears the lease and sets finished_at. The table refuses EXECUTED unless every document is SIGNED.
D  Under a row lock: a stale fence changes nothing and answers False. A document leaves RECEIVED once.
E, I  Nothing runs: a lease that has passed is free by definition, and (G) takes it.
J  Raises the fence, so that a process that was thought dead can write no more.

Documents live in monthly partitions (`documents_2026_11`), made ahead by `migrate` and by the first `register` of a month;
external references live in a table of their own that is not partitioned, so that one is taken once per client service.
"""

from batchseal.store.rows import ClaimedOperation, DocumentRow, NewDocument, NewOperation, OperationRow, Statistics
from batchseal.store.store import Store

__all__ = ["ClaimedOperation", "DocumentRow", "NewDocument", "NewOperation", "OperationRow", "Statistics", "Store"]
