"""`UploadMemory`: what an upload reserves for documents that are larger than its share of small ones.

Where the store takes parts, no document needs more than that share. Elsewhere a document is in memory as a whole until it is
stored. As soon as one has outgrown a window, the largest document that it may become is reserved, in one step: if uploads
reserved as they grow, each of several could have a part of what it needs, and none could go on.
"""

from collections.abc import Sequence

from batchseal.admission.admission import SPACE_RETRY_SECONDS, Admission, Ticket
from batchseal.errors import NoRoom


class UploadMemory:
    """The memory of one upload.

    `decoded_bytes` is about what all its documents can be together, None where the request does not say; `max_document_bytes` is
    the largest document that is taken at all. `in_parts`: a large document is stored while it arrives.
    """

    def __init__(
        self,
        admission: Admission,
        ticket: Ticket,
        *,
        decoded_bytes: int | None,
        max_document_bytes: int,
        in_parts: bool = False,
    ) -> None:
        self._in_parts = in_parts
        self._ticket = ticket
        self._window_bytes = admission.budgets.window_bytes
        self._base_bytes = admission.upload_bytes
        self._most_bytes = admission.most_memory_bytes
        self._max_document_bytes = max_document_bytes
        self._left_bytes = decoded_bytes
        self._growing_bytes = 0  # what has come of the document that is not complete
        self._grows_to_bytes = 0  # what is reserved for it
        self._unstored: list[int] = []  # large documents that are complete and still in memory

    async def grows(self, more_bytes: int) -> None:
        """So much has come of a document. Waits for the memory that it may need. Raises NoRoom."""
        self._growing_bytes += more_bytes
        if self._in_parts or self._growing_bytes <= max(self._window_bytes, self._grows_to_bytes):
            return
        if self._grows_to_bytes >= self._max_document_bytes:
            return  # what comes is no document: no larger one is taken
        able_bytes = self._most_bytes - self._base_bytes
        if self._growing_bytes > able_bytes:
            raise NoRoom(
                f"a document is larger than {max(0, able_bytes)} bytes, and no larger one fits into the memory; raise"
                " --memory-limit, or the memory limit of the container",
                retry_after_seconds=SPACE_RETRY_SECONDS,
            )
        largest = self._max_document_bytes
        if self._left_bytes is not None:
            largest = min(largest, max(self._left_bytes, self._growing_bytes))
        if largest > able_bytes:
            # It need not become so large. It leaves something to others, which hold their share of small documents meanwhile,
            # and takes the rest only if it needs it.
            most = able_bytes * 3 // 4
            largest = most if self._growing_bytes <= most else able_bytes
        self._grows_to_bytes = largest
        await self._ticket.hold(lambda: self._needed_bytes)

    def complete(self, sizes: Sequence[int]) -> None:
        """Documents of these sizes are complete. They stay in memory until `stored` tells of them."""
        if self._left_bytes is not None:
            self._left_bytes = max(0, self._left_bytes - sum(sizes))
        self._unstored += [size for size in sizes if self._is_reserved(size)]
        self._growing_bytes = self._grows_to_bytes = 0
        self._ticket.keep(self._needed_bytes)

    def stored(self, sizes: Sequence[int]) -> None:
        """Documents of these sizes are in memory no more."""
        for size in sizes:
            if self._is_reserved(size):
                self._unstored.remove(size)
                self._ticket.keep(self._needed_bytes)

    def comes_in_parts(self, held_bytes: int) -> bool:
        """Whether a document of which so much would be held is to be stored in parts."""
        return self._in_parts and held_bytes > self._window_bytes

    def _is_reserved(self, size: int) -> bool:
        return size > self._window_bytes and not self._in_parts

    @property
    def _needed_bytes(self) -> int:
        return self._base_bytes + self._grows_to_bytes + sum(self._unstored)
