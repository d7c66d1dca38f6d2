"""Threads that client services share: whose work begins when."""

import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from harness.waiting import until

from batchseal.system.shared_pool import SharedPool

SECONDS = 120


class Work:
    """Tasks that end when they may, and tell when they began."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.began: list[str] = []
        self._changed = threading.Condition()

    def task(self, name: str) -> str:
        with self._changed:
            self.began.append(name)
            self._changed.notify_all()
        assert self.may_end.wait(SECONDS)
        return name

    def until_began(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.began) >= count, SECONDS)


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.may_end.set()


def test_one_client_alone_has_all_threads_but_the_spare_one(work: Work) -> None:
    pool = SharedPool(2, spare=1)
    asked = [pool.of("greedy").submit(work.task, f"greedy {n}") for n in range(5)]
    work.until_began(2)
    assert [future.running() for future in asked] == [True, True, False, False, False]
    work.may_end.set()
    assert [future.result(SECONDS) for future in asked] == [f"greedy {n}" for n in range(5)]
    pool.shutdown()


def test_a_client_with_nothing_running_does_not_wait_for_a_long_task(work: Work) -> None:
    pool = SharedPool(2, spare=1)
    for n in range(50):
        pool.of("greedy").submit(work.task, f"greedy {n}")
    work.until_began(2)
    other: Future[str] = pool.of("other").submit(str, "done")
    assert other.result(SECONDS) == "done"
    assert len(work.began) == 2
    work.may_end.set()
    pool.shutdown()


def test_clients_take_turns(work: Work) -> None:
    pool = SharedPool(1, spare=0)
    pool.of("first").submit(work.task, "first 0")
    work.until_began(1)
    for name in ("first", "second", "third"):
        for n in range(1, 3):
            pool.of(name).submit(work.task, f"{name} {n}")
    work.may_end.set()
    work.until_began(7)
    turns = [name.partition(" ")[0] for name in work.began[1:]]
    assert sorted(turns[:3]) == sorted(turns[3:]) == ["first", "second", "third"]
    pool.shutdown()


def test_an_error_comes_back_and_the_thread_goes_on() -> None:
    pool = SharedPool(1)
    with pytest.raises(ZeroDivisionError):
        pool.of("a").submit(lambda: 1 / 0).result(SECONDS)
    assert pool.submit(pow, 2, 3).result(SECONDS) == 8
    pool.shutdown()


def test_what_has_not_begun_at_the_end_is_cancelled(work: Work) -> None:
    pool = SharedPool(1, spare=0)
    running, waiting = (pool.of("a").submit(work.task, f"{n}") for n in range(2))
    work.until_began(1)
    ending = threading.Thread(target=pool.shutdown)
    ending.start()
    waited: threading.Event = threading.Event()
    waiting.add_done_callback(lambda _: waited.set())
    assert waited.wait(SECONDS)
    assert waiting.cancelled()
    work.may_end.set()
    assert running.result(SECONDS) == "0"
    ending.join(SECONDS)


def test_a_pool_needs_a_thread() -> None:
    with pytest.raises(ValueError, match="thread"):
        SharedPool(0)


def test_nothing_is_taken_after_the_end() -> None:
    pool = SharedPool(1)
    pool.shutdown()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(pow, 2, 3)


def test_a_task_that_has_ended_is_not_kept() -> None:
    """A task holds the documents of a request."""

    class Held:
        pass

    pool, held = SharedPool(1), Held()
    gone = weakref.ref(held)
    assert pool.submit(lambda one: None, held).result(SECONDS) is None
    del held
    until(lambda: gone() is None)
    pool.shutdown()
