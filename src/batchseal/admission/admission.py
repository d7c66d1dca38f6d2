"""`Admission` admits a request or refuses it. A `Ticket` is what an admitted request has reserved."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from batchseal.admission.ledger import Ledger
from batchseal.admission.limits import Budgets
from batchseal.admission.standing import StandingMemory
from batchseal.errors import NoRoom, NoSpace, TooManyRequests

# How much more than its documents a payload takes on disk: frames and prepared documents are extra.
MARGIN = 1.1
# What is reserved at a time for a body that does not say its length.
BOOKED_AHEAD_BYTES = 8 << 20
# The memory of a request however small it is: its scanner and its reply.
REQUEST_FIXED_BYTES = 1 << 20
# A result that is sent holds two pieces of 2 MB, each as it was read and encoded. If its caller stops reading, it holds them
# until the connection is cut.
DELIVERY_BYTES = 8 << 20
MAX_DELIVERIES = 64
DELIVERY_WAIT_SECONDS = 10.0
# How long a document that grows beyond its reservation waits for memory, and how often it looks.
MEMORY_WAIT_SECONDS, MEMORY_LOOK_SECONDS = 25.0, 0.2
SPACE_RETRY_SECONDS, ROOM_RETRY_SECONDS, QUEUE_RETRY_SECONDS = 30, 2, 5

MakeRoom = Callable[[int], Awaitable[None]]
log = structlog.get_logger("admission")


class Admission:
    """Admits requests. Each worker has one.

    `free_bytes` returns how much the payload store can take. `make_room` is called with a number of bytes when the temporary
    space is short, and purges fetched payloads.
    """

    def __init__(
        self,
        ledger: Ledger,
        budgets: Budgets,
        free_bytes: Callable[[], int],
        make_room: MakeRoom | None = None,
    ) -> None:
        self.ledger = ledger
        self.budgets = budgets
        self.free_bytes = free_bytes
        self._make_room = make_room
        self._deliveries = 0
        self.for_headers = StandingMemory(ledger, budgets.memory_bytes)

    async def admit(self, decoded_bytes: int | None) -> "Ticket":
        """Reserves what a request with about `decoded_bytes` of documents needs (None: the request does not say how many).

        Raises TooManyRequests, NoRoom or NoSpace, each with the time after which the caller may try again.
        """
        temp = BOOKED_AHEAD_BYTES if decoded_bytes is None else int(decoded_bytes * MARGIN)
        most = self.budgets.upload_bytes
        memory = most if decoded_bytes is None else min(most, REQUEST_FIXED_BYTES + decoded_bytes)
        ticket = Ticket(self)
        try:
            ticket.book(temp, memory, queue=True)
        except NoSpace:
            if self._make_room is None:
                raise
            await self._make_room(temp)
            ticket.book(temp, memory, queue=True)
        return ticket

    async def admit_delivery(self, result_bytes: int) -> Callable[[], None]:
        """Reserves memory for a result that is sent, and returns a function that gives it back.

        If there is none, waits up to DELIVERY_WAIT_SECONDS for other requests to end. Then raises NoRoom.
        """
        ticket, ends = Ticket(self), time.monotonic() + DELIVERY_WAIT_SECONDS
        memory = min(DELIVERY_BYTES, REQUEST_FIXED_BYTES + 3 * result_bytes)
        while True:
            try:
                if self._deliveries >= MAX_DELIVERIES:
                    raise NoRoom("too many results are being fetched", retry_after_seconds=ROOM_RETRY_SECONDS)
                ticket.book(0, memory)
                break
            except NoRoom:
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(MEMORY_LOOK_SECONDS)
        self._deliveries += 1

        def release() -> None:
            self._deliveries -= 1
            ticket.release()

        return release


class Ticket:
    """What one request has reserved. To be given back by `release`, or by `settle` once the request is registered."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._ledger = admission.ledger
        self.temp_bytes = 0
        self.memory_bytes = 0
        self.written_bytes = 0

    def book(self, temp: int, memory: int, *, queue: bool = False) -> None:
        """Reserves so many more bytes, or raises TooManyRequests, NoRoom or NoSpace and reserves nothing.

        With `queue`, the queue of documents that wait to be signed must have room as well.
        """
        budgets = self._admission.budgets
        with self._ledger.booked() as booked:
            if queue and booked.queued_documents >= budgets.queued_documents:
                cause = f"{booked.queued_documents} documents wait for the signing service"
                raise TooManyRequests(cause, retry_after_seconds=QUEUE_RETRY_SECONDS)
            if memory and budgets.memory_bytes <= 0:
                raise NoRoom("the memory limit leaves no memory for uploads", retry_after_seconds=SPACE_RETRY_SECONDS)
            if booked.memory_bytes and booked.memory_bytes + memory > budgets.memory_bytes:
                raise NoRoom("the memory for uploads is in use", retry_after_seconds=ROOM_RETRY_SECONDS)
            if temp:
                left = budgets.temp_bytes - booked.stored_bytes - booked.temp_bytes
                free = self._admission.free_bytes() - (booked.temp_bytes - booked.written_bytes)
                if temp > min(left, free):
                    cause = f"the request needs {temp} bytes of temporary space; the budget has {left} left, the volume {free}"
                    raise NoSpace(cause, retry_after_seconds=SPACE_RETRY_SECONDS)
            self._ledger.change(temp, 0, memory)
        self.temp_bytes += temp
        self.memory_bytes += memory

    def wrote(self, stored_bytes: int, ahead_bytes: int = 0) -> None:
        """Notes that the file has `stored_bytes` and will soon have `ahead_bytes` more.

        Reserves what is missing. Raises NoSpace.
        """
        short = stored_bytes + ahead_bytes - self.temp_bytes
        if short > 0:
            self.book(max(short, BOOKED_AHEAD_BYTES if ahead_bytes else 0), 0)
        if stored_bytes == self.written_bytes:
            return
        with self._ledger.booked():
            self._ledger.change(0, stored_bytes - self.written_bytes, 0)
        self.written_bytes = stored_bytes

    async def hold(self, memory_bytes: int) -> None:
        """Reserves more memory, up to `memory_bytes` in all, for a document that grows.

        If there is none, waits up to MEMORY_WAIT_SECONDS for other requests to end. Then raises NoRoom.
        """
        ends = time.monotonic() + MEMORY_WAIT_SECONDS
        while (short := memory_bytes - self.memory_bytes) > 0:
            try:
                self.book(0, short)
            except NoRoom:
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(MEMORY_LOOK_SECONDS)

    def settle(self, stored_bytes: int, documents: int) -> None:
        """Call it when the request is registered. What it has stored is booked for the instance, and the reservation ends."""
        with self._ledger.booked() as booked:
            booked.stored_bytes += stored_bytes
            booked.queued_documents += documents
            self._give_back()

    def release(self) -> None:
        """Gives everything back. Does nothing after `settle`."""
        if self.temp_bytes or self.memory_bytes:
            with self._ledger.booked():
                self._give_back()

    def _give_back(self) -> None:
        self._ledger.change(-self.temp_bytes, -self.written_bytes, -self.memory_bytes)
        self.temp_bytes = self.memory_bytes = self.written_bytes = 0
