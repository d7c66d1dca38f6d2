"""Failed logins: what locks a pair of address and client id, what does not, and that no count can be pushed out or overrun."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from batchseal.api.attempts import MAX_FAILURES, Attempts
from batchseal.api.failures import SLOT_SECONDS
from batchseal.api.known_pairs import KNOWN_SECONDS, WAYS
from batchseal.errors import TooManyRequests

MINUTE = 60


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(tmp_path: Path, clock: Clock) -> Attempts:
    return Attempts(tmp_path / "attempts", now=clock)


def guesses(table: Attempts, address: str, name: str, most: int = 50, *, configured: bool = True) -> int:
    """How many of `most` wrong guesses are answered."""
    pair = table.pair(address, name, configured=configured)
    for number in range(most):
        try:
            table.check(pair)
            table.failed(pair)
        except TooManyRequests:
            return number
    return most


def is_locked(table: Attempts, address: str, name: str, *, configured: bool = True) -> bool:
    try:
        table.check(table.pair(address, name, configured=configured))
    except TooManyRequests:
        return True
    return False


@pytest.mark.parametrize("configured", [True, False])
def test_guessing_locks_the_pair_and_no_other(table: Attempts, configured: bool) -> None:
    """An id that nobody has behaves like a configured one, so that nobody finds out which ids exist."""
    assert guesses(table, "10.0.0.1", "A", configured=configured) == MAX_FAILURES
    assert is_locked(table, "10.0.0.1", "A", configured=configured)
    assert not is_locked(table, "10.0.0.1", "B", configured=configured)
    assert not is_locked(table, "10.0.0.2", "A", configured=configured)


def test_many_names_lock_nobody_elsewhere_nor_here(table: Attempts) -> None:
    for number in range(2000):
        table.failed(table.pair("10.0.0.1", f"made up {number}", configured=False))
    assert not is_locked(table, "10.0.0.1", "A")
    assert guesses(table, "10.0.0.1", "A") == MAX_FAILURES


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "", True),
    ],
)
def test_a_line_counts_as_one_address(table: Attempts, first: str, second: str, same: bool) -> None:
    guesses(table, first, "A")
    assert is_locked(table, second, "A") == same


def test_no_name_makes_the_count_of_another_begin_anew(table: Attempts) -> None:
    """With a place for each key, a key with the same place would take it."""
    answered = 0
    for number in range(300):
        for other in range(10):
            table.failed(table.pair("10.0.0.1", f"evictor {number} {other}", configured=False))
            table.failed(table.pair(f"10.9.{number % 256}.{other}", "another", configured=True))
        answered += guesses(table, "10.0.0.1", "A", 1)
    assert answered == MAX_FAILURES


def test_simultaneous_guesses_are_counted_one_by_one(tmp_path: Path) -> None:
    """Many processes guess at the same moment, and all of them find the pair open before the first failure is counted."""
    code = (
        "import sys; from pathlib import Path; from batchseal.api.attempts import Attempts\n"
        "from batchseal.errors import TooManyRequests\n"
        f"table = Attempts(Path({str(tmp_path / 'attempts')!r})); pair = table.pair('10.0.0.1', 'A', configured=True)\n"
        "table.check(pair); print('open', flush=True); sys.stdin.readline(); answered = 0\n"
        "for _ in range(10):\n"
        "    try: table.failed(pair); answered += 1\n"
        "    except TooManyRequests: pass\n"
        "print(answered)"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sum(int(process.communicate(timeout=240)[0]) for process in processes) == MAX_FAILURES


def test_every_minute_has_at_most_so_many_guesses(table: Attempts, clock: Clock) -> None:
    """Also a minute that begins in the middle of a window of the counters."""
    began, times = clock.seconds, []
    while clock.seconds < began + 300:
        times += [clock.seconds] * guesses(table, "10.0.0.1", "A")
        clock.seconds += 0.7
    for start in times:
        assert sum(start <= moment < start + MINUTE for moment in times) <= MAX_FAILURES
    assert len(times) >= 4 * MAX_FAILURES


@pytest.mark.parametrize("known", [True, False])
def test_the_lock_ends_when_it_says(table: Attempts, clock: Clock, known: bool) -> None:
    if known:
        table.succeeded(table.pair("10.0.0.1", "A", configured=True))
    guesses(table, "10.0.0.1", "A")
    pair = table.pair("10.0.0.1", "A", configured=True)
    with pytest.raises(TooManyRequests) as stopped:
        table.check(pair)
    seconds = stopped.value.retry_after_seconds
    assert seconds is not None and MINUTE <= seconds <= MINUTE + SLOT_SECONDS + 1
    clock.seconds += seconds - 2
    assert is_locked(table, "10.0.0.1", "A")
    clock.seconds += 2
    assert not is_locked(table, "10.0.0.1", "A")


def test_strangers_never_lock_a_pair_that_proved_itself(tmp_path: Path, clock: Clock) -> None:
    """Not even with so many failures from elsewhere that every shared counter is full."""
    table = Attempts(tmp_path / "few counters", now=clock, width=64)
    table.succeeded(table.pair("10.0.0.1", "A", configured=True))
    clock.seconds += KNOWN_SECONDS - 100
    for number in range(4000):
        with suppress(TooManyRequests):
            table.failed(table.pair(f"10.1.{number >> 8}.{number & 255}", "A", configured=True))
    assert is_locked(table, "10.0.0.2", "A")
    assert not is_locked(table, "10.0.0.1", "A")
    assert guesses(table, "10.0.0.1", "A") == MAX_FAILURES
    table.close()


def test_a_pair_that_proved_itself_keeps_its_failures(table: Attempts) -> None:
    """Else a guesser could go on beside a caller who knows the secret."""
    answered = 0
    for _ in range(30):
        answered += guesses(table, "10.0.0.1", "A", 1)
        table.succeeded(table.pair("10.0.0.1", "A", configured=True))
    assert answered == MAX_FAILURES


def test_a_pair_is_known_for_a_day(table: Attempts, clock: Clock) -> None:
    pair = table.pair("10.0.0.1", "A", configured=True)
    assert not table.is_known(pair)
    table.succeeded(pair)
    clock.seconds += KNOWN_SECONDS - 1
    assert table.is_known(pair)
    table.succeeded(pair)
    clock.seconds += KNOWN_SECONDS - 1
    assert table.is_known(pair)
    clock.seconds += 1
    assert not table.is_known(pair)


def test_a_name_that_calls_from_everywhere_pushes_out_only_its_own(table: Attempts, clock: Clock) -> None:
    victim = table.pair("10.0.0.1", "A", configured=True)
    table.succeeded(victim)
    for number in range(5 * WAYS):
        clock.seconds += 1
        table.succeeded(table.pair(f"10.1.0.{number}", "B", configured=True))
    assert table.is_known(victim)
    kept = [n for n in range(5 * WAYS) if table.is_known(table.pair(f"10.1.0.{n}", "B", configured=True))]
    assert kept == list(range(4 * WAYS, 5 * WAYS))


@pytest.mark.parametrize("known", [True, False])
def test_a_booking_counts_until_it_is_given_back(table: Attempts, clock: Clock, known: bool) -> None:
    pair = table.pair("10.0.0.1", "A", configured=True)
    if known:
        table.succeeded(pair)
    bookings = [table.book(pair) for _ in range(MAX_FAILURES)]
    with pytest.raises(TooManyRequests):
        table.book(pair)
    table.give_back(bookings[0])
    table.book(pair)
    assert is_locked(table, "10.0.0.1", "A")
    # What is given back after its minute has gone takes nothing off a later one.
    clock.seconds += 2 * MINUTE
    guesses(table, "10.0.0.1", "A", MAX_FAILURES - 1)
    for booking in bookings[1:]:
        table.give_back(booking)
    assert guesses(table, "10.0.0.1", "A") == 1


def test_a_token_is_remembered_by_its_digest(table: Attempts, clock: Clock) -> None:
    good, other = bytes(range(32)), bytes(32)
    table.remember_token(good)
    assert table.remembers_token(good)
    assert not table.remembers_token(other)
    clock.seconds += KNOWN_SECONDS
    assert not table.remembers_token(good)


def break_magic(path: Path) -> None:
    path.write_bytes(b"\xff" * 200_000)


def grow_old(path: Path) -> None:
    """A machine that was started anew has a clock that begins anew: the file is of the future."""


@pytest.mark.parametrize("happens", [break_magic, grow_old])
def test_what_an_earlier_run_left_locks_nobody(tmp_path: Path, happens: Callable[[Path], None]) -> None:
    table = Attempts(tmp_path / "attempts", now=lambda: 5_000_000.0)
    table.succeeded(table.pair("10.0.0.1", "A", configured=True))
    guesses(table, "10.0.0.1", "A")
    table.close()
    happens(tmp_path / "attempts")
    again = Attempts(tmp_path / "attempts", now=lambda: 300.0)
    assert guesses(again, "10.0.0.1", "A") == MAX_FAILURES
    again.close()


def test_the_table_has_its_room_before_the_disk_is_full(tmp_path: Path) -> None:
    """A write to a mapped page without one would end the worker."""
    Attempts(tmp_path / "attempts").close()
    status = (tmp_path / "attempts").stat()
    assert status.st_blocks * 512 >= status.st_size > 1_000_000


def test_other_processes_see_the_failures(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from batchseal.api.attempts import Attempts\n"
        f"table = Attempts(Path({str(tmp_path / 'attempts')!r})); pair = table.pair('10.0.0.1', 'A', configured=True)\n"
        f"for _ in range({MAX_FAILURES}): table.failed(pair)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert is_locked(Attempts(tmp_path / "attempts", now=time.monotonic), "10.0.0.1", "A")
