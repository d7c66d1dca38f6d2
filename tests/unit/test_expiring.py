"""A cache whose answers hold for a time each."""

from batchseal.system.expiring import ExpiringCache


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_holds_for_its_time_and_may_be_none() -> None:
    clock = Clock()
    cache: ExpiringCache[str, str | None] = ExpiringCache(8, clock)
    assert cache.find("a") is None
    cache.keep("a", None, 5)
    cache.keep("b", "B", 60)
    assert (cache.find("a"), cache.find("b")) == ((None,), ("B",))
    clock.now += 5
    assert (cache.find("a"), cache.find("b")) == (None, ("B",))


def test_the_oldest_answer_makes_room() -> None:
    cache: ExpiringCache[int, int] = ExpiringCache(3, Clock())
    for number in (1, 2, 3, 1, 4):  # 1 is kept anew: 2 is the oldest
        cache.keep(number, number, 60)
    assert len(cache) == 3
    assert [cache.find(number) for number in (1, 2, 3, 4)] == [(1,), None, (3,), (4,)]
