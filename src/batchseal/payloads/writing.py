"""Which payloads this process writes in a store that several instances share, so that no sweep of its own takes them."""

import threading
from uuid import UUID


class BeingWritten:
    """Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[UUID] = set()

    def begins(self, payload_id: UUID) -> None:
        with self._lock:
            self._ids.add(payload_id)

    def ended(self, payload_id: UUID) -> None:
        """It was released, or abandoned."""
        with self._lock:
            self._ids.discard(payload_id)

    def ids(self) -> set[UUID]:
        """What is written just now, or was written and not released."""
        with self._lock:
            return set(self._ids)
