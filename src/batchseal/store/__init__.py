"""Operations, documents and leases in PostgreSQL: the only folder that holds SQL.

    from batchseal.store import NewDocument, NewOperation, Store

Nothing here knows where a payload lies or how it is signed; nothing elsewhere knows a table. What is true
about an operation is what these rows say: a process that died held no truth.

How an operation moves. A lease is `lease_holder` until `lease_until`, by the database's clock; the fence is a
number that grows whenever somebody takes the lease, and every write names the fence that it was given.

    register
      (A)                                             ┌──(F)─────────── finish
       ▼            (B) claim_one                     │                   ▼
    REGISTERED ──────────────────────► HELD ──────────┤                FINISHED
       │                              ▲  │ ▲          │
       │ (C) 1 s, nobody came         │  │ │          └──(G)────────── postpone
       ▼            (D) claim         │  │ │ (H) when due                 ▼
      FREE ───────────────────────────┘  │ └─────────────────────────  WAITING
       ▲                                 │
       └─────────────────────────────────┘
         (E) the lease ran out, or take_back_own_leases

          status                               lease                      fence     next_try_at
    REGISTERED  PENDING_EXECUTION              its instance's, 30 s       1         -
    HELD        PENDING_EXECUTION or _ERROR    its worker's, renewed      n         -
    FREE        PENDING_EXECUTION or _ERROR    none, or in the past       n         -
    WAITING     EXECUTION_ERROR                none                       n         in the future
    FINISHED    EXECUTED or EXECUTION_FAILED   none                       last      -

A  One statement: the external reference, the operation, its documents. Refused ones end here.
B  By the instance that holds the payload; raises the fence to 2. `claim` does the same for `woken` ones.
C  Nothing runs: the registration lease keeps other instances away for 30 s, and its own `claim` for 1 s.
D  Raises the fence. Claims that run side by side skip each other's rows and never wait.
E  Its worker hangs or is cut off: a lease that has passed is free by definition. Or it is dead and the same
   instance starts again: the fence is raised at once, so that a process thought dead can write no more.
F  With the last outcomes. Clears the lease, sets finished_at. The table refuses it while a document is RECEIVED.
G  Clears the lease, tries + 1.
H  `claim` when due, `claim_one` at once. The status stays EXECUTION_ERROR until the next (F).

In HELD, `renew` and `record_outcomes` write under the fence: a stale one changes nothing and answers False.
A document leaves RECEIVED once, for SIGNED or ERROR_SIGNING, and keeps its first result.

Documents live in monthly partitions (`documents_2026_11`), made ahead by `migrate` and by the first
`register` of a month. External references live in a table of their own that is not partitioned, so that each
is taken once per client service.
"""

from batchseal.store.rows import (
    ClaimedOperation,
    DocumentRow,
    NewDocument,
    NewOperation,
    OperationRow,
    Statistics,
)
from batchseal.store.store import Store

__all__ = [
    "ClaimedOperation",
    "DocumentRow",
    "NewDocument",
    "NewOperation",
    "OperationRow",
    "Statistics",
    "Store",
]
