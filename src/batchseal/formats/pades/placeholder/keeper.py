"""The keeper: `python -m batchseal.formats.pades.placeholder.keeper --socket-fd N`.

It queues documents and keeps a searcher that reads them. It has one thread and waits for descriptors. The searcher is forked,
so a new one is there within milliseconds; PDFium is loaded in the keeper and used in searchers only. A searcher has a limit of
address space. The keeper kills it when it has used its processor time, which does not depend on what else the machine does, or
when it has made no progress for far longer.

Time is shared by start-time fair queueing: the next document is that of the client service which has used the least, so many
slow documents of one do not delay those of another by more than one of them.
"""

import argparse
import ctypes
import mmap
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from batchseal.formats.pades.placeholder.wire import (
    MESSAGE_BYTES,
    Answer,
    Found,
    Query,
    decode_answer,
    decode_query,
    encode,
    search_limit,
    seconds_allowed,
)
from batchseal.system.parent import die_with_parent

# How long the keeper stays without work.
IDLE_SECONDS = 60.0
# How often the processor time of a searcher is looked at.
LOOK_SECONDS = 0.05
# A searcher that gets no processor is given so many times its processor time.
PATIENCE_FACTOR = 10
TRIES = 2
# Connections that are open at once; each process of the service has a few.
MOST_CONNECTIONS = 1024


@dataclass(slots=True)
class Job:
    """A document that waits, or is being searched. `descriptor` is its memfd. A connection has one of them at a time."""

    connection: socket.socket
    query: Query
    descriptor: int
    tries: int = 0


@dataclass(slots=True)
class Share:
    """What a client service has waiting, and the searching time that counts for it."""

    used_seconds: float
    jobs: deque[Job] = field(default_factory=deque)


class FairQueue:
    """Jobs of client services, each of which gets the same share of the searching time."""

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}
        self._reached_seconds = 0.0  # what the one had used that was served last

    def __len__(self) -> int:
        return sum(len(share.jobs) for share in self._shares.values())

    def put(self, job: Job, *, first: bool = False) -> None:
        """A client service that comes anew begins where the others are: it has no claim to time in which it was away."""
        share = self._shares.setdefault(job.query.client, Share(self._reached_seconds))
        if first:
            share.jobs.appendleft(job)
        else:
            share.jobs.append(job)

    def take(self) -> Job | None:
        """The next job; None where there is none."""
        waiting = [share for share in self._shares.values() if share.jobs]
        if not waiting:
            return None
        share = min(waiting, key=lambda one: one.used_seconds)
        self._reached_seconds = share.used_seconds
        return share.jobs.popleft()

    def used(self, client: str, seconds: float) -> None:
        """Counts searching time. A client service without work is forgotten once the others have used as much."""
        if client in self._shares:
            self._shares[client].used_seconds += seconds
        for name in [
            n for n, one in self._shares.items() if not one.jobs and one.used_seconds <= self._reached_seconds
        ]:
            del self._shares[name]


class Searcher:
    """The process that searches, as the keeper sees it."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                self.socket.close()
                be_searcher(theirs)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        self.socket.setblocking(False)

    def cpu_seconds(self) -> float:
        """The processor time that it has used."""
        with open(f"/proc/{self.pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.socket.close()


class Keeper:
    """Serves `listener` until there was nothing to do for `idle_seconds`."""

    def __init__(self, listener: socket.socket, idle_seconds: float = IDLE_SECONDS) -> None:
        self._listener = listener
        self._idle_seconds = idle_seconds
        self._selector = selectors.DefaultSelector()
        self._queue = FairQueue()
        self._connections = 0
        self._searcher: Searcher | None = None
        self._job: Job | None = None
        self._began = 0.0
        self._cpu_before: float | None = None
        self._last_work = time.monotonic()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def run(self) -> None:
        while self._is_needed():
            for key, _ in self._selector.select(LOOK_SECONDS if self._job else self._idle_seconds):
                key.data()
            if self._job and time.monotonic() - self._began > LOOK_SECONDS / 2:
                self._check_limits()
            if not self._job:
                self._start()
        if self._searcher:
            self._searcher.end()

    def _is_needed(self) -> bool:
        if self._job or len(self._queue):
            self._last_work = time.monotonic()
        return time.monotonic() - self._last_work < self._idle_seconds

    # --- the callers ----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._connections += 1
            if self._connections > MOST_CONNECTIONS:
                self._close(connection)
                return
            self._listen_to(connection)

    def _listen_to(self, connection: socket.socket) -> None:
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._receive(connection))

    def _receive(self, connection: socket.socket) -> None:
        """A request, or the end of a caller that has none or waits no more."""
        descriptors: list[int] = []
        try:
            message, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 1)
            job = Job(connection, decode_query(message), descriptors[0])
        except BlockingIOError:
            return
        except (OSError, ValueError, IndexError):
            for descriptor in descriptors:
                os.close(descriptor)
            self._selector.unregister(connection)
            self._close(connection)
            return
        self._selector.unregister(connection)  # it waits for its answer now
        self._queue.put(job)

    def _answer(self, job: Job, answer: Answer) -> None:
        os.close(job.descriptor)
        try:
            job.connection.send(encode(answer))
            self._listen_to(job.connection)  # for the next one
        except OSError:  # the caller waits no more
            self._close(job.connection)

    def _close(self, connection: socket.socket) -> None:
        connection.close()
        self._connections -= 1

    # --- the searcher ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Gives the next document to the searcher."""
        while (job := self._queue.take()) is not None:
            if self._searcher is None:
                self._searcher = Searcher()
                self._selector.register(self._searcher.socket, selectors.EVENT_READ, self._searched)
            job.tries += 1
            self._job, self._began = job, time.monotonic()
            try:
                self._cpu_before = None
                socket.send_fds(self._searcher.socket, [encode(job.query)], [job.descriptor])
                return
            except OSError:
                self._died()

    def _searched(self) -> None:
        """The searcher has an answer, or has died."""
        assert self._searcher is not None
        try:
            message = self._searcher.socket.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._died()
            return
        job = self._end_of_turn()
        if job is not None:
            self._answer(job, decode_answer(message))

    def _end_of_turn(self) -> Job | None:
        job, self._job = self._job, None
        if job is not None:
            self._queue.used(job.query.client, time.monotonic() - self._began)
        return job

    def _died(self, because: Found = Found.DIED) -> None:
        """A document is tried again, before any other one of its client service. One that takes too long would do so again."""
        assert self._searcher is not None
        self._selector.unregister(self._searcher.socket)
        self._searcher.end()
        self._searcher = None
        job = self._end_of_turn()
        if job is None:
            return
        if because is Found.DIED and job.tries < TRIES:
            self._queue.put(job, first=True)
        else:
            self._answer(job, Answer(because))

    def _check_limits(self) -> None:
        assert self._searcher is not None and self._job is not None
        allowed = seconds_allowed(self._job.query.content_bytes)
        # Nearly all searches end before the first look, which is when counting begins.
        used_in_all = self._searcher.cpu_seconds()
        if self._cpu_before is None:
            self._cpu_before = used_in_all
        used = used_in_all - self._cpu_before
        if used > allowed or time.monotonic() - self._began > PATIENCE_FACTOR * allowed:
            self._died(Found.TOO_LONG)


# --- in the searcher ----------------------------------------------------------------------------------------------------------


def be_searcher(keeper: socket.socket) -> None:
    """Searches one document after the other, until the keeper ends. Never returns to the keeper's code."""
    die_with_parent()
    # A crash is expected here: nobody wants a core file with somebody's document in it.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # the first to go where memory is short
    own_bytes = address_space_bytes()
    for number in count():
        message, descriptors, _, _ = socket.recv_fds(keeper, MESSAGE_BYTES, 1)
        if not message:
            return
        query = decode_query(message)
        if not number:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        limit_bytes = own_bytes + query.content_bytes + search_limit(query.content_bytes)
        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, resource.RLIM_INFINITY))
        try:
            answer = search_in(descriptors[0], query)
        finally:
            os.close(descriptors[0])
        keeper.send(encode(answer))


def search_in(descriptor: int, query: Query) -> Answer:
    from batchseal.formats.pades.placeholder.search import search

    if not query.content_bytes or os.fstat(descriptor).st_size < query.content_bytes:
        return Answer(Found.UNREADABLE)
    # PDFium only reads it, so no page is copied; ctypes wants to be able to write.
    with mmap.mmap(descriptor, query.content_bytes, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        content = (ctypes.c_char * query.content_bytes).from_buffer(mapped)
        try:
            return search(content, query.content_bytes, query.word)
        finally:
            del content


def address_space_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS)
    arguments = parser.parse_args()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the supervisor decides
    import batchseal.formats.pades.placeholder.search  # noqa: F401  (once, for all searchers)

    Keeper(socket.socket(fileno=arguments.socket_fd), arguments.idle_seconds).run()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
