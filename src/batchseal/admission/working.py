"""`WorkingMemory`: memory for work on one document that needs more than the share of its request."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from batchseal.admission.ledger import Ledger
from batchseal.errors import NoRoom
from batchseal.system.heap import give_back_memory

# How long a thread waits for the event loop, which does the booking. It is far longer than the loop is ever busy.
LOOP_SECONDS = 10.0
RETRY_SECONDS = 2
# The heap of the C library keeps what is freed. From so much on, it goes back to the system while it is still booked, which takes
# a few milliseconds.
GIVEN_BACK_BYTES = 32 << 20


class WorkingMemory:
    """Books the memory of work in threads. To be made in the event loop, since the ledger is used in there only.

    `budget_bytes` is the budget for all memory of the instance, and `share_bytes` is what the request that wants the work may
    have booked already. Without a budget nothing is refused, but everybody sees what is booked. `waits`: nothing is booked beyond
    the budget. The signer does not wait for those who send documents, who are refused while it works.
    """

    def __init__(
        self, ledger: Ledger, budget_bytes: int | None = None, share_bytes: int = 0, *, waits: bool = True
    ) -> None:
        self._ledger = ledger
        self._budget_bytes = budget_bytes
        self._share_bytes = share_bytes
        self._waits = waits
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def __call__(self, wanted_bytes: int) -> Iterator[int]:
        """Books `wanted_bytes` during the block, or as much as a request alone could ever have, and gives the number.

        To be called in a thread other than that of the event loop. Raises NoRoom where others have the memory now.
        """
        granted = wanted_bytes
        if self._budget_bytes is not None:
            granted = max(1, min(wanted_bytes, self._budget_bytes - self._share_bytes))
        booking = asyncio.run_coroutine_threadsafe(self._book(granted), self._loop)
        try:
            booking.result(LOOP_SECONDS)
        except TimeoutError:
            if booking.cancel():
                raise NoRoom("the service is busy", retry_after_seconds=RETRY_SECONDS) from None
        try:
            yield granted
        finally:
            if granted >= GIVEN_BACK_BYTES:
                give_back_memory()
            # A loop that is closed belongs to a process that ends, and its bookings end with it.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._give_back, granted)

    async def _book(self, memory_bytes: int) -> None:
        with self._ledger.booked() as booked:
            beyond = self._budget_bytes is not None and booked.memory_bytes + memory_bytes > self._budget_bytes
            if beyond and self._waits:
                raise NoRoom("the memory for preparing documents is in use", retry_after_seconds=RETRY_SECONDS)
            self._ledger.change(memory=memory_bytes)

    def _give_back(self, memory_bytes: int) -> None:
        with self._ledger.booked():
            self._ledger.change(memory=-memory_bytes)
