"""Bounds what connections cost whose request is not complete yet: silent ones, and those that stop in their headers.

The server (granian, on hyper) buffers the headers of each connection until they are complete, and has no bound for all of them
together, nor for one address. Its limit for one connection is also the size of the pieces in which bodies are read, so a small
one would slow uploads down. This module therefore watches the server's sockets from outside. The kernel says how many bytes
each has brought (`tcp_info`), the guard says which of them have a request that runs, and the others are what this is about. If
they hold too much, the address that holds most loses its largest connection first, or its oldest if all are small.

It costs nothing while there are few connections: a look is taken when the listening socket has something to accept, and again
and again only while so many are open that they could exceed the bound. So the bound is not a hard one: what a sender brings
between two looks, which are a few milliseconds apart, comes on top of it for so long.

While this process is busy, a request may be complete and wait for its turn: its bytes are not read yet, or the event loop has not
begun it. That must not look like a caller who sends nothing, however long it takes. So a connection is cut only after some looks
with nothing new; the event loop begins what waits for it between two looks.
"""

import asyncio
import heapq
import os
import socket
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from batchseal.system.addresses import TrustedProxies, group_of
from batchseal.system.sockets import (
    copy_of_socket,
    is_listening,
    open_descriptors,
    port_of,
    received_bytes,
    reset_connection,
)

log = structlog.get_logger(__name__)
Peer = tuple[str, int]

LOG_SECONDS = 10.0
STEP_BYTES = 1 << 20
# The server's buffers grow in steps of about this size.
BUFFER_BYTES = 16 << 10
SMALL_BYTES = 32 << 10
# After so many looks in which nothing new came, no request of a connection waits for its turn: the event loop takes up what the
# server hands over, makes a task of it, and runs that.
CALM_LOOKS = 3
# What comes in more pieces than this is no request that was sent in one go. Else a byte now and then would keep a connection.
MOST_PIECES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderLimits:
    """The bounds of one worker. Raises ValueError for values that are not positive."""

    bytes_in_all: int = 12 << 20
    """What all connections without a complete request may hold together."""
    unbooked_bytes: int = 4 << 20
    """So much of it is not reserved: the sizes of the service leave room for it."""
    connection_bytes: int = 20 << 10
    """What a connection costs that has sent nothing."""
    largest_bytes: int = 8192 + 4096 * 100
    """The most that the server buffers of one connection's headers."""
    connections_of_one: int = 256
    """How many of them one address may have that are older than `grace_seconds`. 0: no limit."""
    grace_seconds: float = 1.0
    settle_seconds: float = 0.01
    """So long a connection must have had large headers before it is cut: its request may be complete and just begin."""
    look_seconds: float = 0.005
    """The shortest time between two looks, and `alarm_seconds` while they hold much and what they hold grows."""
    look_share: float = 0.05
    """The largest share of the time that looking may take, and `alarm_share` likewise."""
    alarm_seconds: float = 0.002
    alarm_share: float = 0.5

    def __post_init__(self) -> None:
        sizes = self.bytes_in_all, self.connection_bytes, self.largest_bytes
        if (
            min(*sizes, self.settle_seconds, self.look_seconds, self.look_share, self.alarm_seconds, self.alarm_share)
            <= 0
        ):
            raise ValueError(f"these limits must be positive: {self}")

    @property
    def small_bytes(self) -> int:
        """What a connection with small headers holds at most. Few clients send larger ones."""
        return self.connection_bytes + SMALL_BYTES

    @property
    def harmless(self) -> int:
        """So many connections cannot exceed the bounds, whatever they send."""
        most = self.bytes_in_all // (self.connection_bytes + self.largest_bytes)
        return min(most, self.connections_of_one or most)


@dataclass(slots=True, eq=False)
class Connection:
    """An open connection, as it was seen in the last look."""

    peer: Peer
    group: str
    descriptor: int
    inode: int
    seen_at: float
    received_bytes: int = 0
    """What the server has read of it."""
    large_since: float | None = None
    """When it was first seen with large headers."""
    large_looks: int = 0
    """In so many looks they were large since then."""
    calm_looks: int = 0
    """In so many looks, the last ones, nothing new came."""
    pieces: int = 0
    """How often something new was seen since its last request ended."""
    complete_bytes: int = 0
    """The bytes of requests that have ended."""
    requests: int = 0
    is_cut: bool = False
    """It is closed as soon as the server comes to it, and does not count any more."""

    def held_bytes(self, limits: HeaderLimits) -> int:
        """What it costs at most while it has no complete request."""
        unfinished = max(0, self.received_bytes - self.complete_bytes)
        buffer_bytes = -(-unfinished // BUFFER_BYTES) * BUFFER_BYTES
        return limits.connection_bytes + min(buffer_bytes, limits.largest_bytes)

    def note(self, now: float, read_bytes: int, unread_bytes: int, limits: HeaderLimits) -> None:
        """Takes in what a look has shown: how many bytes the server has read of it, and how many it has still to read."""
        has_news = read_bytes != self.received_bytes and self.pieces < MOST_PIECES
        self.pieces += has_news
        self.calm_looks = 0 if has_news or unread_bytes else self.calm_looks + 1
        self.received_bytes = read_bytes
        if self.held_bytes(limits) <= limits.small_bytes:
            self.large_since, self.large_looks = None, 0
        else:
            self.large_since = now if self.large_since is None else self.large_since
            self.large_looks += 1

    def is_idle(self) -> bool:
        """Whether it had a request before, and has not begun another one."""
        return self.requests > 0 and self.received_bytes <= self.complete_bytes


class UnfinishedRequests:
    """Watches the connections that this process accepts on `port`.

    `book` reserves so many bytes of memory in all for what they hold, in place of what was reserved before; it returns False if
    there is no room, and then changes nothing. Members of `trusted` may have any number of connections.
    """

    def __init__(
        self,
        port: int,
        limits: HeaderLimits,
        trusted: TrustedProxies,
        book: Callable[[int], bool] = lambda _: True,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.looks = 0
        self.cut = 0  # connections, since the start
        self.waiting = 0  # connections without a request that runs, and what they hold, in the last look
        self.held_bytes = 0
        self._port = port
        self._trusted = trusted
        self._book = book
        self._now = now
        self._booked_bytes = 0
        self._running: set[Peer] = set()
        # How many requests have ended on each connection since the last look, and their bytes.
        self._ended: dict[Peer, tuple[int, int]] = {}
        self._open: dict[int, Connection | None] = {}  # by inode; None for a socket that is no connection of ours
        self._news = True  # whether connections may have been accepted since the last look
        self._timer: asyncio.TimerHandle | None = None
        self._listener: socket.socket | None = None
        self._logged_at = -LOG_SECONDS
        self._cut_unlogged: dict[str, int] = defaultdict(int)

    # --- what the guard tells -----------------------------------------------------------------------------------------

    def began(self, peer: Peer) -> None:
        """A request of this connection has begun, so its headers are complete."""
        self._running.add(peer)

    def ended(self, peer: Peer, request_bytes: int) -> None:
        """That request has ended. About `request_bytes` were received for it, rather fewer than more."""
        self._running.discard(peer)
        requests, before = self._ended.get(peer, (0, 0))
        self._ended[peer] = requests + 1, before + request_bytes
        if not requests:
            self.waiting += 1
        if self._listener is not None and self._timer is None and self.waiting > self.limits.harmless:
            self._look_after(self.limits.look_seconds)

    # --- when to look -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to watch; the server must be listening. Raises RuntimeError if no socket listens on the port."""
        for descriptor in open_descriptors():
            if (one := copy_of_socket(descriptor)) is not None:
                if port_of(one) == self._port and is_listening(one):
                    self._listener = one
                    self._wait_for_connections()
                    return
                one.close()
        raise RuntimeError(f"no socket of this process listens on port {self._port}")

    def stop(self) -> None:
        """Ends watching. To be called before the server stops to listen: until then this keeps the socket open."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _wait_for_connections(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._something_to_accept)

    def _something_to_accept(self) -> None:
        # The server accepts it. Until the look nothing more need be known, and a full server would leave it unaccepted.
        if self._listener is not None:
            self._news = True
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._look_after(self.limits.look_seconds)

    def _look_after(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look_in_time)

    def _look_in_time(self) -> None:
        self._timer = None
        if self._news:
            self._news = False
            self._wait_for_connections()
        began, limits, before = time.thread_time(), self.limits, self.held_bytes
        self.look()
        took = time.thread_time() - began
        if self.held_bytes > max(before, limits.bytes_in_all // 4):
            self._look_after(max(limits.alarm_seconds, took / limits.alarm_share))
        elif self.waiting > limits.harmless or self._booked_bytes:
            self._look_after(max(limits.look_seconds, took / limits.look_share))

    # --- a look -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Looks at every connection without a complete request, and cuts what exceeds the bounds."""
        self.looks += 1
        now = self._now()
        waiting = list(self._find_waiting(now))
        self.waiting = len(waiting)
        self._ended.clear()
        many = set(self._too_many(waiting, now))
        left = [one for one in waiting if one not in many]
        self.held_bytes = held = sum(one.held_bytes(self.limits) for one in left)
        room = self._room_for(held)
        self._cut([*many, *self._too_large(left, held, room, now)])
        self._say(now)

    def _find_waiting(self, now: float) -> Iterator[Connection]:
        """The connections that have no request which runs. Forgets those that are closed."""
        seen: dict[int, Connection | None] = {}
        for descriptor in open_descriptors():
            try:
                status = os.fstat(descriptor)
            except OSError:
                continue  # closed meanwhile
            if not stat.S_ISSOCK(status.st_mode):
                continue
            inode = status.st_ino
            if inode in self._open:
                seen[inode] = self._open[inode]
            else:
                seen[inode] = self._connection(descriptor, inode, now)
        self._open = seen
        found = [one for one in seen.values() if one is not None]
        for one in found:
            requests, complete_bytes = self._ended.get(one.peer, (0, 0))
            one.requests += requests
            one.complete_bytes += complete_bytes
            if requests:
                one.pieces = one.calm_looks = 0
            if one.peer not in self._running and not one.is_cut:
                one.note(now, *received_bytes(one.descriptor), self.limits)
                yield one

    def _connection(self, descriptor: int, inode: int, now: float) -> Connection | None:
        """The connection of this socket, or None if it is no connection that was accepted on the port."""
        if (one := copy_of_socket(descriptor)) is None:
            return None
        with one:
            if port_of(one) != self._port:
                return None
            try:
                host, port = one.getpeername()[:2]
            except OSError:
                return None  # it listens, or is closed
        return Connection((host, port), group_of(host), descriptor, inode, now)

    def _too_many(self, waiting: Iterable[Connection], now: float) -> list[Connection]:
        """The oldest connections of each address that has too many. Those between two requests do not count."""
        groups: dict[str, list[Connection]] = defaultdict(list)
        if self.limits.connections_of_one:
            for one in waiting:
                if now - one.seen_at > self.limits.grace_seconds and one.calm_looks >= CALM_LOOKS and not one.is_idle():
                    groups[one.group].append(one)
        return [
            one
            for members in groups.values()
            if (excess := len(members) - self.limits.connections_of_one) > 0 and members[0].peer[0] not in self._trusted
            for one in sorted(members, key=lambda member: member.seen_at)[:excess]
        ]

    def _room_for(self, held_bytes: int) -> int:
        """How many bytes the connections may hold. Reserves what is above `unbooked_bytes`, in steps of 1 MB."""
        above = min(held_bytes, self.limits.bytes_in_all) - self.limits.unbooked_bytes
        wanted = max(0, above + STEP_BYTES - 1) // STEP_BYTES * STEP_BYTES
        if wanted != self._booked_bytes:
            if not self._book(wanted):
                return self.limits.unbooked_bytes + self._booked_bytes
            self._booked_bytes = wanted
        return self.limits.bytes_in_all

    def _too_large(self, waiting: Sequence[Connection], held: int, room: int, now: float) -> list[Connection]:
        """What must go if they hold more than `room` bytes: large headers first. Small ones pay only for what small ones hold."""
        if held <= room:
            return []
        settled = [
            one
            for one in waiting
            if one.large_since is not None
            and now - one.large_since >= self.limits.settle_seconds
            and one.large_looks > CALM_LOOKS
        ]
        small = [one for one in waiting if one.large_since is None]
        small_bytes = sum(one.held_bytes(self.limits) for one in small)
        # Where one of these waits for its turn, nobody else pays in its place.
        too_many = [one for one in self._largest(small, small_bytes - room * 3 // 4) if one.calm_looks >= CALM_LOOKS]
        return self._largest(settled, held - room // 2) + too_many

    def _largest(self, waiting: Iterable[Connection], bytes_to_free: int) -> list[Connection]:
        """Connections that hold so much together: always one of the address that holds most.

        It is the largest one, or the oldest if all of them are small: whoever just begins a request is neither.
        """
        groups: dict[str, list[Connection]] = defaultdict(list)
        for one in waiting:
            groups[one.group].append(one)
        for members in groups.values():
            members.sort(key=self._rank)
        heap = [
            (-sum(one.held_bytes(self.limits) for one in members), members[-1].seen_at, group)
            for group, members in groups.items()
        ]
        heapq.heapify(heap)
        victims = []
        while bytes_to_free > 0 and heap:
            size, _, group = heapq.heappop(heap)
            victims.append(victim := groups[group].pop())
            bytes_to_free -= victim.held_bytes(self.limits)
            if members := groups[group]:
                heapq.heappush(heap, (size + victim.held_bytes(self.limits), members[-1].seen_at, group))
        return victims

    def _rank(self, one: Connection) -> tuple[int, float, int]:
        """Of the connections of an address, the one with the highest rank goes first."""
        held = one.held_bytes(self.limits)
        return held if held > self.limits.small_bytes else 0, -one.seen_at, -held

    def _cut(self, victims: Iterable[Connection]) -> None:
        for victim in victims:
            if victim.peer not in self._running and reset_connection(victim.descriptor, victim.inode):
                victim.is_cut = True
                self.cut += 1
                self._cut_unlogged[victim.group] += 1

    def _say(self, now: float) -> None:
        if self._cut_unlogged and now - self._logged_at >= LOG_SECONDS:
            group, most = max(self._cut_unlogged.items(), key=lambda pair: pair[1])
            total, self._logged_at = sum(self._cut_unlogged.values()), now
            log.warning("connections without a complete request cut", connections=total, mostly=group, of_them=most)
            self._cut_unlogged.clear()
