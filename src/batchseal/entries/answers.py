"""Asks places that may not answer, such as folders of a network mount that hangs: each in a thread of its own, for a while."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

ANSWER_SECONDS = 5.0
AT_ONCE = 32

T = TypeVar("T")


class Answers(Generic[T]):
    """A place that hangs keeps its thread, and is not asked again before that has come back. The threads hold up no exit."""

    def __init__(self, seconds: float = ANSWER_SECONDS) -> None:
        self._seconds = seconds
        self._open: dict[str, tuple[object, Future[T]]] = {}  # by name, with what the question was about

    def ask(self, works: Mapping[str, tuple[object, Callable[[], T]]], seconds: float | None = None) -> dict[str, T]:
        """The results of those that answer in time, by their names; what is asked for is given with what it is about.

        Blocking, for `seconds` (by default those of the class) with each group that holds a place which hangs. An answer to the
        same question that has come meanwhile counts. Raises what one of them has raised.
        """
        found, names = dict[str, T](), list(works)
        for at in range(0, len(names), AT_ONCE):
            asked = {name: self._asked(name, *works[name]) for name in names[at : at + AT_ONCE]}
            wait([future for _, future in asked.values()], self._seconds if seconds is None else seconds)
            for name, (about, future) in asked.items():
                if future.done():
                    del self._open[name]
                    if about == works[name][0]:
                        found[name] = future.result()
        return found

    def _asked(self, name: str, about: object, work: Callable[[], T]) -> tuple[object, "Future[T]"]:
        if name not in self._open:
            future = Future[T]()
            threading.Thread(target=_answer, args=(future, work), name=f"ask {name}", daemon=True).start()
            self._open[name] = about, future
        return self._open[name]


def _answer(future: "Future[T]", work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as problem:
        future.set_exception(problem)
