"""Operations, documents, signatures, leases and the audit trail in PostgreSQL. This is the only folder that holds SQL.

    from batchseal.store import NewDocument, NewOperation, Store

The code here does not know where a payload is stored or how a document is signed, and the code elsewhere does not know a table.
The rows are the only truth about an operation: when a process dies, nothing is lost but what it had in work.

How an operation moves. Whoever works on an operation holds its lease: the columns `lease_holder` and `lease_until`, compared with
the clock of the database. The fence is a number in the row that grows whenever a lease is taken or taken back. Every later write
names the fence that it got with its lease, so that a process which has lost the lease can change nothing any more. The signer
process of an instance holds the leases. The worker processes receive requests. Several instances may share the database: what
lies in a payload store that others read too (`payload_store`), any of them claims; the rest only the instance that took it in.

    register
      (A)                                             ┌──(F)─────────── finish
       ▼            (B) handed over, claim_one        │                   ▼
    REGISTERED ──────────────────────► HELD ──────────┤                FINISHED
       │                              ▲  │ ▲          │                   │ (I) reopen
       │ (C) 1 s, nobody came         │  │ │          └──(G) postpone     │
       ▼            (D) claim         │  │ │ (H) when due      ▼          ▼
      FREE ───────────────────────────┘  │ └───────────────── WAITING ◄───┘
       ▲                                 │
       └─────────────────────────────────┘
         (E) the lease ran out, take_back_own_leases, or give_back

          status                               lease                      fence     next_try_at
    REGISTERED  PENDING_EXECUTION              its instance's, 12 s       1         -
    HELD        PENDING_EXECUTION or _ERROR    its signer's, renewed      n         -
    FREE        PENDING_EXECUTION or _ERROR    none, or in the past       n         -
    WAITING     EXECUTION_ERROR, or PENDING_   none                       n         in the future
                EXECUTION after (I)
    FINISHED    EXECUTED or EXECUTION_FAILED   none                       last      -

A  One statement stores the external reference, the operation and its documents. A document that is refused on arrival ends here.
B  The worker hands the new operation to the signer of its own instance, which works under the lease and the fence that `register`
   gave (1). Where that is not possible, the signer calls `claim_one`, which raises the fence.
C  Nothing runs at this moment. For 12 s the lease of the registration keeps other instances away. For 1 s it also keeps the
   `claim` of the same instance away, unless the operation is among those that were `woken`.
D  Raises the fence. Several claims may run at the same time: each skips the rows that another has locked, and none waits.
E  The signer hangs, or it cannot reach the database: a lease whose time is over is free. Or the signer is dead and a new one
   starts: `take_back_own_leases` raises the fence at once, so that a signer which was wrongly taken for dead cannot write. So
   does a signer that stops. What ran out is free for its holder at once, and for another instance once that has been in contact
   with the database for a whole lease (`instances.py` says why). An operation whose calls go through another instance is given
   back for that one (`give_back`).
F  Stores the last outcomes, clears the lease and sets finished_at. A constraint of the table refuses this while a document is
   still RECEIVED.
G  Clears the lease and adds 1 to `tries`.
H  `claim` takes it when it is due, `claim_one` at any time. The status stays EXECUTION_ERROR until the next (F).
I  The caller hands in a failed operation again whose payload is still there. Its failed documents are RECEIVED again, and `tries`
   is 0. It is due 10 s later, unless its worker wakes the signer before, which then takes it by `claim_one`.

After a restore, what was unfinished waits for an operator, whatever its status: `held_at` is set, and no claim takes the
operation before it is null again. That has nothing to do with HELD, which only means that somebody has the lease.

While an operation is HELD, `renew`, `add_payload` and `record_outcomes` write under its fence. With a stale fence they change
nothing and return False. A document leaves RECEIVED once, for SIGNED or ERROR_SIGNING, and then keeps that result until (I).

Payloads. The row of an operation says how to find its payload: `payload_id`, and `payload_record`, which only the payload store
reads. What is prepared after the upload goes into further payloads, whose records `further_payloads` lists, the oldest first.

Signatures. The table `signatures` has one row for each document that has been in a sign call, or that (I) has opened again.
`signature` is the signature value (empty until there is one), `evidence` holds its time stamps and whatever else the level needs,
and `tries` counts the sign calls.
A commit with signatures returns when they are on the disk. The table has a partition for each day (`signatures_2026_11_28`), the
day on which the operation was registered, in UTC. A partition is made before the first row of its day is written. Housekeeping
drops it as a whole once the day has been over for an hour and the payload of each of its operations was purged. No row is ever
deleted singly, so that a purge leaves no dead rows behind.

Lanes, duties and instances. `credential_lanes` says through which instance the sign calls of a credential go, and `duties` which
one does what one does for all. Both are leased like operations (`turns.py`). `instances` says who is there (`instances.py`).

Evidence records. The end of an operation that asked for one leaves a row in `evidence_records` (F), in the partition of its day.
`evidence_records.py` tells how it is claimed and written; (I) does not touch it, and the next (F) makes it anew.

Documents have a partition for each month (`documents_2026_11`). `migrate` makes the partitions of this month and the next one,
and so does the first `register` of a month. External references have a table of their own without partitions, so that a unique
index over all months gives each reference of a client service to one operation.
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
