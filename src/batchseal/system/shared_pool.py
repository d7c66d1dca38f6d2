"""A pool of threads that several clients share: no client's work waits behind all the work of another one.

Each client has a queue. The queues take turns. The last `spare` threads take work only of a client that has nothing running, so
that a client whose tasks are long, and which has all the other threads, does not keep others waiting. While nobody else asks, one
client has all threads but those.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Work of the service itself.
NOBODY = ""

Task = tuple["Future[Any]", Callable[[], Any]]


class SharedPool(Executor):
    """`threads` for everybody, and `spare` more for clients that have nothing running. Used directly it works for the service.

    It has threads of its own, which begin when they are needed. Over a ThreadPoolExecutor, a task would have two futures and
    pass two queues, which a request for a single document notices.
    """

    def __init__(self, threads: int, *, spare: int = 1, name: str = "native") -> None:
        if threads < 1 or spare < 0:
            raise ValueError("a pool needs a thread")
        self._for_everybody = threads
        self._most = threads + spare
        self._name = name
        self._threads: list[threading.Thread] = []
        # What a thread may begin at once, with its client; None ends a thread.
        self._ready: SimpleQueue[tuple[str, Task] | None] = SimpleQueue()
        self._ended = False
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[Task]] = OrderedDict()  # by client, the one whose turn it is first
        self._running: dict[str, int] = {}
        self._total = 0

    def of(self, client: str) -> Executor:
        """The pool as this client uses it."""
        return ClientsPool(self, client)

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        return self.submit_for(NOBODY, partial(call, *args, **kwargs))

    def submit_for(self, client: str, work: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("the pool was shut down")
            self._waiting.setdefault(client, deque()).append((future, work))
            self._start_what_may()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the threads, and waits for what they run. What has not begun is cancelled."""
        with self._lock:
            if not self._ended:
                self._ended = True
                for _ in self._threads:
                    self._ready.put(None)
            dropped = [future for queue in self._waiting.values() for future, _ in queue]
            self._waiting.clear()
        for future in dropped:
            future.cancel()
        for thread in self._threads if wait else ():
            thread.join()

    def _start_what_may(self) -> None:
        """To be called with the lock held."""
        while self._total < self._most and (client := self._next()) is not None:
            queue = self._waiting[client]
            task = queue.popleft()
            # The client's next turn comes after that of the others.
            self._waiting.move_to_end(client)
            if not queue:
                del self._waiting[client]
            self._running[client] = self._running.get(client, 0) + 1
            self._total += 1
            if self._total > len(self._threads):
                thread = threading.Thread(target=self._serve, name=f"{self._name}_{self._total}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._ready.put((client, task))

    def _next(self) -> str | None:
        """The client whose turn it is. The spare threads are for those who have nothing running."""
        if self._total < self._for_everybody:
            return next(iter(self._waiting), None)
        return next((client for client in self._waiting if client not in self._running), None)

    def _serve(self) -> None:
        """What each thread does. It keeps nothing of a task that has ended."""
        while (ready := self._ready.get()) is not None:
            self._run(ready[0], *ready[1])
            del ready

    def _run(self, client: str, future: "Future[Any]", work: Callable[[], Any]) -> None:
        try:
            if future.set_running_or_notify_cancel():
                try:
                    result = work()
                except BaseException as problem:
                    future.set_exception(problem)
                else:
                    future.set_result(result)
        finally:
            with self._lock:
                self._total -= 1
                self._running[client] -= 1
                if not self._running[client]:
                    del self._running[client]
                self._start_what_may()


class ClientsPool(Executor):
    """A `SharedPool` as one client uses it."""

    def __init__(self, pool: SharedPool, client: str) -> None:
        self._pool = pool
        self._client = client

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        return self._pool.submit_for(self._client, partial(call, *args, **kwargs))
