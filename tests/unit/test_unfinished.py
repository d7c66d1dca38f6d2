"""Connections without a complete request: what they may hold, who is cut first, and that nobody else is."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from harness.waiting import eventually
from harness.web_end import stop_accepting

from batchseal.system.addresses import TrustedProxies
from batchseal.worker.unfinished import CALM_LOOKS, MOST_PIECES, HeaderLimits, UnfinishedRequests

KB = 1 << 10
# So large that 20 large connections or 50 silent ones fit.
LIMITS = HeaderLimits(
    bytes_in_all=1000 * KB,
    unbooked_bytes=200 * KB,
    connection_bytes=20 * KB,
    largest_bytes=30 * KB,
    connections_of_one=0,
)


class Server(asyncio.Protocol):
    """Accepts connections of this process and buffers what they send, as a server does that waits for the end of headers."""

    def __init__(self) -> None:
        self.made = self.lost = self.received_bytes = 0
        self.port = 0
        self.transports: list[asyncio.Transport] = []

    async def listen(self) -> asyncio.Server:
        server = await asyncio.get_running_loop().create_server(lambda: self, "127.0.0.1", 0, backlog=500)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made += 1
        assert isinstance(transport, asyncio.Transport)
        self.transports.append(transport)

    def pause(self) -> None:
        """Reads nothing until `resume`."""
        for transport in self.transports:
            transport.pause_reading()

    def resume(self) -> None:
        for transport in self.transports:
            transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)

    def connection_lost(self, problem: Exception | None) -> None:
        self.lost += 1


class Caller:
    """A connection to the server from an address of loopback."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.socket = socket.socket()
        self.socket.bind((address, 0))
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.peer: tuple[str, int] = self.socket.getsockname()

    def is_cut(self) -> bool:
        with suppress(BlockingIOError):
            try:
                return self.socket.recv(1) == b""
            except OSError as problem:
                if isinstance(problem, BlockingIOError):
                    raise
                return True
        return False


class Clock:
    """It goes on a little with each look."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        self.seconds += HeaderLimits().settle_seconds
        return self.seconds


class House:
    """A server with its callers, and a watch over them whose looks the test takes."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.callers: list[Caller] = []
        self.sent_bytes = 0
        self.clock = Clock()
        self.booked: list[int] = []
        self.room = 1 << 40

    def watch(self, limits: HeaderLimits = LIMITS, trusted: str = "") -> UnfinishedRequests:
        def book(memory_bytes: int) -> bool:
            if memory_bytes > self.room:
                return False
            self.booked.append(memory_bytes)
            return True

        return UnfinishedRequests(self.server.port, limits, TrustedProxies(trusted), book, now=self.clock)

    async def call(self, count: int, address: str = "127.0.0.1", sent: int = 0) -> list[Caller]:
        callers = [Caller(self.server.port, address) for _ in range(count)]
        self.callers += callers
        for caller in callers:
            await self.send(caller, sent)
        await eventually(lambda: self.server.made == len(self.callers))
        return callers

    def flood(self, count: int, address: str, sent: int) -> None:
        """Many callers send, and may be cut meanwhile."""
        callers = [Caller(self.server.port, address) for _ in range(count)]
        self.callers += callers
        for caller in callers:
            with suppress(ConnectionError, BlockingIOError):
                caller.socket.sendall(b"G" * sent)

    async def send(self, caller: Caller, size: int) -> None:
        """Returns once the server has read it."""
        self.sent_bytes += size
        caller.socket.setblocking(True)
        caller.socket.sendall(b"G" * size)
        caller.socket.setblocking(False)
        await eventually(lambda: self.server.received_bytes == self.sent_bytes, pause=0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    one = Server()
    server = await one.listen()
    house = House(one)
    yield house
    await stop_accepting(server)
    server.close()
    for caller in house.callers:
        caller.socket.close()
    for transport in one.transports:
        transport.abort()
    await eventually(lambda: one.lost == one.made)


def cut(callers: list[Caller]) -> int:
    return sum(caller.is_cut() for caller in callers)


def look(watch: UnfinishedRequests) -> None:
    """As often as it takes until no headers belong to a request that is about to begin."""
    for _ in range(CALM_LOOKS + 1):
        watch.look()


def looked(watch: UnfinishedRequests) -> bool:
    look(watch)
    return True


async def test_few_connections_are_left_alone(house: House) -> None:
    callers = await house.call(20, sent=30 * KB)
    watch = house.watch()
    look(watch)
    assert cut(callers) == 0


async def test_the_largest_of_the_greediest_address_goes_first(house: House) -> None:
    limits = HeaderLimits(
        bytes_in_all=2000 * KB, connection_bytes=20 * KB, largest_bytes=100 * KB, connections_of_one=0
    )
    quiet = await house.call(5, "127.0.0.2", sent=5 * KB)
    large = await house.call(1, "127.0.0.3", sent=90 * KB)
    small = await house.call(4, "127.0.0.4", sent=1 * KB)
    many = await house.call(40, "127.0.0.4", sent=90 * KB)
    watch = house.watch(limits)
    look(watch)
    await eventually(lambda: cut(many) == watch.cut > 0)
    look(watch)
    assert cut(quiet) == cut(large) == cut(small) == 0
    assert watch.held_bytes <= limits.bytes_in_all // 2
    assert watch.waiting + watch.cut == 50


async def test_of_small_ones_the_oldest_go(house: House) -> None:
    """A request whose headers are just arriving is complete in a moment."""
    watch = house.watch()
    old = [caller for number in range(24) for caller in await house.call(1, f"127.0.1.{number}", sent=5 * KB)]
    look(watch)
    young = [caller for number in range(8) for caller in await house.call(1, f"127.0.0.{9 + number}", sent=100)]
    look(watch)
    await eventually(lambda: cut(old) == watch.cut > 0)
    assert cut(young) == 0
    assert watch.held_bytes <= LIMITS.bytes_in_all


async def test_a_request_that_is_about_to_begin_is_not_cut(house: House) -> None:
    """The server has read its headers and a part of its body, and the guard does not know of it yet."""
    limits = HeaderLimits(bytes_in_all=2000 * KB, largest_bytes=100 * KB, connections_of_one=0)
    watch = house.watch(limits)
    many = [caller for number in range(30) for caller in await house.call(1, f"127.0.1.{number}", sent=90 * KB)]
    look(watch)
    upload = await house.call(1, "127.0.0.2", sent=90 * KB)
    for _ in range(20):
        many += await house.call(1, "127.0.0.3", sent=90 * KB)
    watch.look()
    watch.began(upload[0].peer)
    look(watch)
    await eventually(lambda: cut(many) == watch.cut > 0)
    assert cut(upload) == 0


async def test_silent_connections_stop_no_request_of_their_address(house: House) -> None:
    """The request holds more than each of them, and is not older than any."""
    watch = house.watch()
    silent = await house.call(60)
    first = await house.call(1, sent=500)
    look(watch)
    await eventually(lambda: cut(silent) == watch.cut > 0)
    assert cut(first) == 0
    watch.began(first[0].peer)
    house.clock.seconds += 1
    request = await house.call(1, sent=500)
    later = await house.call(30)
    look(watch)
    await eventually(lambda: cut(silent) == watch.cut > 40)
    assert cut(first) == cut(request) == cut(later) == 0


async def test_a_request_that_runs_is_never_cut_and_holds_nothing(house: House) -> None:
    callers = await house.call(60, sent=30 * KB)
    watch = house.watch()
    for caller in callers:
        watch.began(caller.peer)
    look(watch)
    assert (watch.waiting, watch.held_bytes, cut(callers)) == (0, 0, 0)


async def test_what_belongs_to_requests_that_ended_does_not_count(house: House) -> None:
    """Else a client that keeps its connections would look like one that never ends its headers."""
    callers = await house.call(30, sent=30 * KB)
    watch = house.watch()
    for caller in callers:
        watch.began(caller.peer)
        watch.ended(caller.peer, 30 * KB)
    look(watch)
    assert cut(callers) == 0
    # Another request on the same connections stops in its headers.
    for caller in callers:
        await house.send(caller, 25 * KB)
    look(watch)
    await eventually(lambda: cut(callers) == watch.cut > 0)


async def test_headers_behind_a_request_that_has_just_ended_count(house: House) -> None:
    """They were sent together with it, before any look saw the connection."""
    callers = await house.call(40, sent=30 * KB)
    watch = house.watch()
    for caller in callers:
        watch.began(caller.peer)
        watch.ended(caller.peer, 1 * KB)
    look(watch)
    await eventually(lambda: cut(callers) == watch.cut > 0)


async def test_one_address_has_so_many_connections(house: House) -> None:
    watch = house.watch(HeaderLimits(connections_of_one=10, grace_seconds=1.0))
    old = await house.call(15, "127.0.0.2")
    others = await house.call(10, "127.0.0.3")
    look(watch)
    assert watch.cut == 0  # all are young
    idle = await house.call(5, "127.0.0.2", sent=10)
    for caller in idle:
        watch.began(caller.peer)
        watch.ended(caller.peer, 10)
    look(watch)
    house.clock.seconds += 1.5
    new = await house.call(5, "127.0.0.2")
    look(watch)
    await eventually(lambda: cut(old) == watch.cut == 5)
    assert cut(others) == cut(new) == cut(idle) == 0


async def test_requests_that_wait_for_their_turn_do_not_count(house: House) -> None:
    """The event loop was busy for longer than the grace time, and begins what has come meanwhile after a look."""
    watch = house.watch(HeaderLimits(connections_of_one=10, grace_seconds=1.0))
    silent = await house.call(15)
    look(watch)
    waiting = await house.call(10)
    look(watch)
    house.clock.seconds += 5
    for caller in waiting:
        await house.send(caller, 500)
    watch.look()
    for caller in waiting:
        watch.began(caller.peer)
    look(watch)
    await eventually(lambda: cut(silent) == watch.cut == 5)
    assert cut(waiting) == 0


async def test_what_the_server_has_not_read_does_not_count(house: House) -> None:
    """A thread of the server that gets no processor reads nothing, whatever was sent."""
    watch = house.watch(HeaderLimits(connections_of_one=10, grace_seconds=1.0))
    callers = await house.call(15)
    house.server.pause()
    for caller in callers:
        caller.socket.sendall(b"G" * 500)
    look(watch)
    house.clock.seconds += 5
    look(watch)
    assert watch.cut == 0
    house.server.resume()
    await eventually(lambda: house.server.received_bytes == 15 * 500)
    look(watch)
    await eventually(lambda: cut(callers) == watch.cut == 5)


async def test_a_byte_now_and_then_keeps_no_connection(house: House) -> None:
    watch = house.watch(HeaderLimits(connections_of_one=10, grace_seconds=1.0))
    callers = await house.call(15)
    watch.look()
    house.clock.seconds += 5
    for _ in range(MOST_PIECES + CALM_LOOKS):
        for caller in callers:
            with suppress(ConnectionError):
                await house.send(caller, 1)
        watch.look()
        if watch.cut:
            break
    assert watch.cut == 5


async def test_a_trusted_proxy_has_any_number_of_connections(house: House) -> None:
    watch = house.watch(HeaderLimits(connections_of_one=10), trusted="127.0.0.2")
    await house.call(30, "127.0.0.2")
    look(watch)
    house.clock.seconds += 5
    look(watch)
    assert watch.cut == 0


async def test_memory_is_reserved_and_given_back(house: House) -> None:
    limits = HeaderLimits(bytes_in_all=4096 * KB, unbooked_bytes=100 * KB, largest_bytes=64 * KB)
    watch = house.watch(limits)
    callers = await house.call(20, sent=60 * KB)
    look(watch)
    await eventually(lambda: looked(watch) and house.booked[-1:] == [2 << 20])
    for caller in callers:
        caller.socket.close()
    await eventually(lambda: house.server.lost == 20)
    look(watch)
    assert house.booked[-1] == 0


async def test_without_room_they_hold_what_was_left_for_them(house: House) -> None:
    limits = HeaderLimits(bytes_in_all=4096 * KB, unbooked_bytes=400 * KB, largest_bytes=64 * KB)
    house.room = 0
    watch = house.watch(limits)
    callers = await house.call(20, sent=60 * KB)
    look(watch)
    await eventually(lambda: looked(watch) and watch.held_bytes <= limits.unbooked_bytes)
    await eventually(lambda: cut(callers) == watch.cut > 0)


async def test_it_looks_when_somebody_connects_and_sleeps_otherwise(house: House) -> None:
    watch = house.watch()
    watch.start()
    callers = await house.call(3)
    await eventually(lambda: watch.looks > 0 and watch.waiting == 3)
    looks = watch.looks
    await house.call(1)
    await eventually(lambda: watch.waiting == 4)
    assert watch.looks <= looks + 3
    house.flood(60, "127.0.0.2", 30 * KB)
    # Nobody connects any more, but there are so many that it goes on looking, and cuts what is too much.
    await eventually(lambda: watch.cut > 0)
    assert cut(callers) == 0
    watch.stop()
    with pytest.raises(RuntimeError, match="no socket of this process listens"):
        UnfinishedRequests(1, LIMITS, TrustedProxies()).start()


@pytest.mark.parametrize("wrong", [{"bytes_in_all": 0}, {"look_seconds": -1.0}, {"alarm_share": 0.0}])
def test_limits_check_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        HeaderLimits(**wrong)  # type: ignore[arg-type]
