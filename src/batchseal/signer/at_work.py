"""What the signer works on at the moment, by client service, and how much more it may take on.

One client service may take all that there is. Beyond that there is one more share, for those which have less than a share at
work, so that their operations never wait for those of others.
"""

from collections.abc import Callable

from batchseal.admission.limits import room
from batchseal.system.heap import IdleHeap
from batchseal.system.telemetry.meter import METER


class AtWork:
    """`operations` and `documents` are what the signer works on at once; `share_percent` is what comes on top of both.

    `is_alone` says whether there is only one client service: then nothing comes on top. `heap` gives back, while nothing is at
    work, the memory that work has left.
    """

    def __init__(
        self,
        operations: int,
        documents: int,
        share_percent: int,
        is_alone: Callable[[], bool],
        heap: IdleHeap | None = None,
    ) -> None:
        self._heap = heap
        self._operations = operations
        self._documents = documents
        self._share_percent = share_percent
        self._is_alone = is_alone
        self._work: dict[int, tuple[str, int]] = {}  # by operation: its client service, and how many documents it has
        self._of_client: dict[str, tuple[int, int]] = {}  # operations and documents at work

    def begins(self, operation_id: int, client: str, documents: int) -> None:
        self._work[operation_id] = client, documents
        self._add(client, 1, documents)
        if self._heap is not None:
            self._heap.begins()
        METER.set("batchseal_leases_held", value=len(self._work))

    def ended(self, operation_id: int) -> None:
        client, documents = self._work.pop(operation_id)
        self._add(client, -1, -documents)
        if self._heap is not None and not self._work:
            self._heap.ended()
        METER.set("batchseal_leases_held", value=len(self._work))

    def _add(self, client: str, operations: int, documents: int) -> None:
        had = self._of_client.get(client, (0, 0))
        now = had[0] + operations, had[1] + documents
        if now[0]:
            self._of_client[client] = now
        else:
            self._of_client.pop(client, None)

    def room(self, client: str, claiming: int = 0) -> int:
        """How many more operations of this client service may begin; `claiming` more will begin soon."""
        own_operations, own_documents = self._of_client.get(client, (0, 0))
        all_documents = sum(documents for _, documents in self._work.values())
        if room(self._documents, self._share(self._documents), all_documents, own_documents) <= 0:
            return 0
        share = self._share(self._operations)
        return max(0, room(self._operations, share, len(self._work) + claiming, own_operations + claiming))

    def busy(self) -> list[str]:
        """The client services that have a share or more at work."""
        operations, documents = self._share(self._operations), self._share(self._documents)
        if not operations:
            return []
        return [name for name, own in self._of_client.items() if own[0] >= operations or own[1] >= documents]

    def _share(self, of: int) -> int:
        return 0 if self._is_alone() else of * self._share_percent // 100
