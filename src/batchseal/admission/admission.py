"""`Admission` admits a request or refuses it. A `Ticket` is what an admitted request has reserved."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from batchseal.admission.ledger import NOBODY, Ledger, Totals
from batchseal.admission.limits import Budgets, room
from batchseal.admission.standing import StandingMemory
from batchseal.errors import NoRoom, NoSpace, TooManyRequests

# How much more than its documents a payload takes on disk: frames and prepared documents are extra.
MARGIN = 1.1
# What is reserved at a time for a body that does not say its length.
BOOKED_AHEAD_BYTES = 8 << 20
# The memory of a request however small it is: its scanner and its reply.
REQUEST_FIXED_BYTES = 1 << 20
DELIVERY_WAIT_SECONDS = 10.0
# How long a document that grows beyond its reservation waits for memory, and how often it looks.
MEMORY_WAIT_SECONDS, MEMORY_LOOK_SECONDS = 25.0, 0.2
SPACE_RETRY_SECONDS, ROOM_RETRY_SECONDS, QUEUE_RETRY_SECONDS = 30, 2, 5
ROWS_RETRY_SECONDS = 3600  # rows go at the end of a month
# Of the volume itself at most this part is kept for those who have little: it may be just large enough for the work.
MOST_OF_THE_VOLUME = 1 / 16

# Called with the bytes that are needed and the client service that needs them.
MakeRoom = Callable[[int, str], Awaitable[None]]
log = structlog.get_logger("admission")


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long an upload waits for the memory of others before it is refused, and how many of a client service may wait."""

    seconds: float = MEMORY_WAIT_SECONDS
    look_seconds: float = MEMORY_LOOK_SECONDS
    uploads: int = 8


WAITING = Waiting()


class Admission:
    """Admits requests. Each worker has one.

    `free_bytes` returns how much the payload store can take. `make_room` is called when the temporary space is short, and purges
    fetched payloads. `is_alone` says whether there is only one client service: then nothing is kept for others. `store_bytes` is
    what a large upload holds in memory for the payload store.
    """

    def __init__(
        self,
        ledger: Ledger,
        budgets: Budgets,
        free_bytes: Callable[[], int],
        make_room: MakeRoom | None = None,
        *,
        is_alone: Callable[[], bool] = lambda: True,
        store_bytes: int = 0,
        waiting: Waiting = WAITING,
    ) -> None:
        self.store_bytes = store_bytes
        self._patience = waiting
        self.ledger = ledger
        self.budgets = budgets
        self.free_bytes = free_bytes
        self.is_alone = is_alone
        self._make_room = make_room
        self._deliveries = Counter[str]()  # by client service
        self._waiting = Counter[str]()  # uploads that wait for memory, likewise
        self.for_headers = StandingMemory(ledger, budgets.memory_bytes)

    async def admit(self, decoded_bytes: int | None, client: str = NOBODY, *, wait_seconds: float = 0.0) -> "Ticket":
        """Reserves what a request with about `decoded_bytes` of documents needs (None: the request does not say how many).

        With `wait_seconds` it waits so long for the memory that others have, if not many of this client service wait already.
        Raises TooManyRequests, NoRoom or NoSpace, each with the time after which the caller may try again.
        """
        temp = BOOKED_AHEAD_BYTES if decoded_bytes is None else int(decoded_bytes * MARGIN)
        most = self.upload_bytes
        memory = most
        if decoded_bytes is not None:
            memory = min(most, REQUEST_FIXED_BYTES + decoded_bytes + min(decoded_bytes, self.store_bytes))
        ticket = Ticket(self, client)
        try:
            await self._book_in_turn(ticket, temp, memory, wait_seconds)
        except NoSpace:
            if self._make_room is None:
                raise
            await self._make_room(temp, client)
            ticket.book(temp, memory, queue=True)
        return ticket

    async def admit_in_turn(self, decoded_bytes: int | None, client: str) -> "Ticket":
        """Like `admit`, for an upload that a caller sends: it waits for the memory of others."""
        return await self.admit(decoded_bytes, client, wait_seconds=self._patience.seconds)

    async def _book_in_turn(self, ticket: "Ticket", temp: int, memory: int, wait_seconds: float) -> None:
        """Books it as soon as others have given enough memory back, within `wait_seconds`.

        Uploads are short, and without this a service with little memory would refuse the second of two that come together.
        """
        book, client = partial(ticket.book, temp, memory, queue=True), ticket.client
        try:
            book()
            return
        except NoRoom:
            if self.budgets.memory_bytes <= 0 or not wait_seconds or self._waiting[client] >= self._patience.uploads:
                raise
        self._waiting[client] += 1
        try:
            await as_soon_as_there_is_room(book, wait_seconds, self._patience.look_seconds)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]

    async def admit_delivery(self, client: str, memory_bytes: int) -> Callable[[], None]:
        """Reserves memory for a result that is sent, and returns a function that gives it back.

        If there is none, waits up to DELIVERY_WAIT_SECONDS for other requests to end. Then raises NoRoom.
        """
        ticket = Ticket(self, client)

        def book() -> None:
            if not self._may_deliver(client):
                raise NoRoom("too many results are being fetched", retry_after_seconds=ROOM_RETRY_SECONDS)
            ticket.book(0, memory_bytes)

        await as_soon_as_there_is_room(book, DELIVERY_WAIT_SECONDS)
        self._deliveries[client] += 1

        def release() -> None:
            self._deliveries[client] -= 1
            if not self._deliveries[client]:
                del self._deliveries[client]
            ticket.release()

        return release

    def waiting(self, client: str) -> int:
        """How many uploads of a client service wait for memory."""
        return self._waiting[client]

    @asynccontextmanager
    async def reserved(self, client: str, memory_bytes: int) -> AsyncIterator[None]:
        """Holds so much memory during the block. Raises NoRoom if it cannot be had within MEMORY_WAIT_SECONDS."""
        ticket = Ticket(self, client)
        try:
            await ticket.hold(lambda: memory_bytes)
            yield
        finally:
            ticket.release()

    @property
    def most_documents_bytes(self) -> int:
        """What the documents of one request can have together if nothing else is stored."""
        return int(self.budgets.temp_bytes / MARGIN)

    @property
    def upload_bytes(self) -> int:
        """The most memory that an upload of small documents uses, however long it is."""
        return self.budgets.upload_bytes + self.store_bytes

    def share(self, of: int, percent: int) -> int:
        """What is kept of a budget for client services that have little of it."""
        return 0 if self.is_alone() else of * percent // 100

    def _may_deliver(self, client: str) -> bool:
        budget, under_way = self.budgets.deliveries, self._deliveries.total()
        if under_way < budget:
            return True
        share = self.share(budget, self.budgets.shares.deliveries)
        return room(budget, share, under_way, self._deliveries[client]) > 0

    # --- what is left for a client service ------------------------------------------------------------------------
    # Where the budget has room for everybody, nothing has to be known of the shares.

    def check_queue(self, booked: Totals) -> None:
        """Raises TooManyRequests where the queue of documents that wait to be signed is full."""
        budget = self.budgets.queued_documents
        if booked.queued_documents < budget:
            return
        share = self.share(budget, self.budgets.shares.queue)
        if room(budget, share, booked.queued_documents, booked.own.queued_documents) <= 0:
            cause = f"{booked.queued_documents} documents wait for the signing service"
            raise TooManyRequests(cause, retry_after_seconds=QUEUE_RETRY_SECONDS)

    def check_rows(self, booked: Totals) -> None:
        """Raises NoSpace where the database has as many rows of documents as it may have."""
        budget = self.budgets.document_rows
        if not budget or booked.document_rows < budget:
            return
        share = self.share(budget, self.budgets.shares.rows)
        if room(budget, share, booked.document_rows, booked.own.document_rows) <= 0:
            cause = f"the database holds {booked.document_rows} documents, and --max-document-rows is {budget}"
            raise NoSpace(cause, retry_after_seconds=ROWS_RETRY_SECONDS)

    def check_memory(self, booked: Totals, memory_bytes: int) -> None:
        """Raises NoRoom where so much more memory is not left. A request that finds all of it free is let in, however large."""
        budget = self.budgets.memory_bytes
        if budget <= 0:
            raise NoRoom("the memory limit leaves no memory for uploads", retry_after_seconds=SPACE_RETRY_SECONDS)
        if memory_bytes > self._memory_left(booked) and booked.memory_bytes:
            raise NoRoom("the memory for uploads is in use", retry_after_seconds=ROOM_RETRY_SECONDS)

    def _memory_left(self, booked: Totals) -> int:
        share = self.share(self.budgets.memory_bytes, self.budgets.shares.memory)
        return room(self.budgets.memory_bytes - share, share, booked.memory_bytes, booked.own.memory_bytes)

    @property
    def most_memory_bytes(self) -> int:
        """What one request can have if no other one has any."""
        return self.budgets.memory_bytes - self.share(self.budgets.memory_bytes, self.budgets.shares.memory)

    def check_space(self, booked: Totals, temp_bytes: int) -> None:
        """Raises NoSpace where so much more temporary space is not left, in the budget or on the volume."""
        budget, own = self.budgets.temp_bytes, booked.own.stored_bytes + booked.own.temp_bytes
        share = self.share(budget, self.budgets.shares.space)
        left = room(budget, share, booked.stored_bytes + booked.temp_bytes, own)
        volume = self.free_bytes() - (booked.temp_bytes - booked.written_bytes)
        kept = min(share, int(MOST_OF_THE_VOLUME * max(0, booked.stored_bytes + volume)))
        free = room(volume - kept, kept, 0, own)
        if temp_bytes > min(left, free):
            cause = f"the request needs {temp_bytes} bytes of temporary space; the budget has {left} left, the volume {free}"
            raise NoSpace(cause, retry_after_seconds=SPACE_RETRY_SECONDS)


class Ticket:
    """What one request has reserved. To be given back by `release`, or by `settle` once the request is registered."""

    def __init__(self, admission: Admission, client: str = NOBODY) -> None:
        self._admission = admission
        self._ledger = admission.ledger
        self.client = client
        self.temp_bytes = 0
        self.memory_bytes = 0
        self.written_bytes = 0

    def book(self, temp: int, memory: int, *, queue: bool = False) -> None:
        """Reserves so many more bytes, or raises TooManyRequests, NoRoom or NoSpace and reserves nothing.

        With `queue`, the queue of documents that wait to be signed must have room as well.
        """
        with self._ledger.booked(self.client) as booked:
            if queue:
                self._admission.check_queue(booked)
                self._admission.check_rows(booked)
            if memory:
                self._admission.check_memory(booked, memory)
            if temp:
                self._admission.check_space(booked, temp)
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
        with self._ledger.booked(self.client):
            self._ledger.change(0, stored_bytes - self.written_bytes, 0)
        self.written_bytes = stored_bytes

    async def hold(self, memory_bytes: Callable[[], int]) -> None:
        """Reserves more memory, up to `memory_bytes` in all, which may change while this waits.

        If there is none, waits up to MEMORY_WAIT_SECONDS for other requests to end. Then raises NoRoom.
        """

        def book() -> None:
            if (short := memory_bytes() - self.memory_bytes) > 0:
                self.book(0, short)

        await as_soon_as_there_is_room(book, MEMORY_WAIT_SECONDS)

    def keep(self, memory_bytes: int) -> None:
        """Gives back what is reserved beyond `memory_bytes`."""
        if (over := self.memory_bytes - memory_bytes) > 0:
            with self._ledger.booked(self.client):
                self._ledger.change(0, 0, -over)
            self.memory_bytes -= over

    def settle(self, stored_bytes: int, documents: int) -> None:
        """Call it when the request is registered. What it has stored is booked for the instance, and the reservation ends."""
        with self._ledger.booked(self.client) as booked:
            booked.stored_bytes += stored_bytes
            booked.own.stored_bytes += stored_bytes
            booked.queued_documents += documents
            booked.own.queued_documents += documents
            booked.document_rows += documents
            booked.own.document_rows += documents
            self._give_back()

    def release(self) -> None:
        """Gives everything back. Does nothing after `settle`."""
        if self.temp_bytes or self.memory_bytes:
            with self._ledger.booked(self.client):
                self._give_back()

    def _give_back(self) -> None:
        self._ledger.change(-self.temp_bytes, -self.written_bytes, -self.memory_bytes)
        self.temp_bytes = self.memory_bytes = self.written_bytes = 0


async def as_soon_as_there_is_room(
    book: Callable[[], None], seconds: float, look_seconds: float = MEMORY_LOOK_SECONDS
) -> None:
    """Calls `book` until it succeeds, for up to `seconds`. Then raises its NoRoom."""
    ends = time.monotonic() + seconds
    while True:
        try:
            return book()
        except NoRoom:
            if time.monotonic() > ends:
                raise
        await asyncio.sleep(look_seconds)
