"""Failed logins that several instances count together: how many guesses are made, and which logins cost a statement."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.logins import ELSEWHERE, HERE, answer, authenticator_of, basic, written_services

from batchseal.api.attempts import MAX_FAILURES, Attempts
from batchseal.api.authentication import Authenticator
from batchseal.errors import ApiError, DatabaseUnavailable


@dataclass(frozen=True, slots=True)
class Counted:
    refused: bool
    seconds_until_fewer: float = 60.0


@dataclass
class Counter:
    """What the table of the database does, for a minute in which no time passes."""

    failures: dict[bytes, int] = field(default_factory=dict)
    statements: int = 0
    away: bool = False

    async def count(self, pair: bytes) -> Counted:
        await self._statement()
        if self.failures.get(pair, 0) >= MAX_FAILURES:
            return Counted(refused=True)
        self.failures[pair] = self.failures.get(pair, 0) + 1
        return Counted(refused=False)

    async def take_back(self, pair: bytes, counted: Counted) -> None:
        await self._statement()
        self.failures[pair] -= 1

    async def _statement(self) -> None:
        self.statements += 1
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseUnavailable("away")


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def instances(tmp_path: Path, counter: Counter) -> Iterator[Callable[[int], list[Authenticator]]]:
    """Makes so many instances, each with counts of its own."""
    services = written_services(tmp_path, {"one": {"secret": "s1"}, "off": {"secret": "s2", "active": False}})
    probed: list[str] = []

    async def probe(token: str) -> str | None:
        probed.append(token)
        return "one" if token.endswith("good") else None

    with ExitStack() as opened:

        def make(count: int) -> list[Authenticator]:
            made = []
            for number in range(count):
                attempts = opened.enter_context(closing(Attempts(tmp_path / f"attempts {number}")))
                made.append(authenticator_of(services, attempts, probe=probe, counter=counter))
            return made

        yield make


async def token_answer(authenticator: Authenticator, secret: str, *, form_encoded: bool = False) -> int:
    try:
        await authenticator.issued("one", secret, HERE, form_encoded=form_encoded)
    except ApiError as error:
        return error.status
    return 200


@pytest.mark.parametrize("name", ["one", "nobody"])
async def test_guesses_in_turn_at_three_instances_are_as_many_as_at_one(
    instances: Callable[[int], list[Authenticator]], name: str
) -> None:
    """Nothing tells a configured id from a made-up one."""
    three = instances(3)
    answers = [await answer(three[n % 3], basic(name, f"guess {n}")) for n in range(3 * MAX_FAILURES)]
    assert answers == [401] * MAX_FAILURES + [429] * 2 * MAX_FAILURES
    assert await answer(three[0], basic(name, "s1")) == 429
    assert await answer(three[0], basic("one", "s1"), ELSEWHERE) == 200


async def test_simultaneous_guesses_at_three_instances_are_as_many_as_at_one(
    instances: Callable[[int], list[Authenticator]],
) -> None:
    three = instances(3)
    guesses = [answer(three[n % 3], basic("one", f"guess {n}")) for n in range(60)]
    answers = await asyncio.gather(*guesses)
    assert (answers.count(401), answers.count(429)) == (MAX_FAILURES, 60 - MAX_FAILURES)


async def test_both_readings_of_a_token_request_count_for_all(
    instances: Callable[[int], list[Authenticator]],
) -> None:
    here, there = instances(2)
    answers = [await token_answer((here, there)[n % 2], f"a%2B{n}", form_encoded=True) for n in range(7)]
    assert answers == [401] * (MAX_FAILURES // 2) + [429] * 2
    assert await token_answer(there, "s1") == 429


async def test_who_proved_itself_costs_no_statement_until_it_fails(
    instances: Callable[[int], list[Authenticator]], counter: Counter
) -> None:
    (one,) = instances(1)
    assert await answer(one, basic("one", "s1")) == 200
    assert (counter.statements, set(counter.failures.values())) == (2, {0})  # counted, and taken back
    assert [await answer(one, basic("one", "s1")) for _ in range(50)] == [200] * 50
    assert await token_answer(one, "s1") == 200
    assert counter.statements == 2
    assert await answer(one, basic("one", "wrong")) == 401
    assert (counter.statements, set(counter.failures.values())) == (3, {1})


async def test_any_number_of_right_logins_at_once_are_let_in(
    instances: Callable[[int], list[Authenticator]], counter: Counter
) -> None:
    """Before their pair has proved itself anywhere. More instances than there may be failures."""
    many = instances(MAX_FAILURES + 2)
    logins = [answer(many[n % len(many)], basic("one", "s1")) for n in range(20 * len(many))]
    assert await asyncio.gather(*logins) == [200] * len(logins)
    assert set(counter.failures.values()) == {0}
    assert counter.statements <= 20 * len(many)


async def test_a_known_pair_has_one_guess_more_at_each_other_instance(
    instances: Callable[[int], list[Authenticator]],
) -> None:
    three = instances(3)
    for one in three:
        assert await answer(one, basic("one", "s1")) == 200
    answers = [await answer(one, basic("one", f"guess {n}")) for one in three for n in range(MAX_FAILURES)]
    assert answers.count(401) == MAX_FAILURES + 2
    assert [await answer(one, basic("one", "s1")) for one in three] == [429] * 3


async def test_a_locked_pair_costs_no_statement(
    instances: Callable[[int], list[Authenticator]], counter: Counter
) -> None:
    here, there = instances(2)
    for number in range(MAX_FAILURES):
        assert await answer(here, basic("one", f"guess {number}")) == 401
    assert await answer(there, basic("one", "one more")) == 429
    before = counter.statements
    answers = [await answer(one, basic("one", "and more")) for one in (here, there) for _ in range(20)]
    assert answers == [429] * 40
    assert counter.statements == before


async def test_a_right_secret_of_a_client_that_is_switched_off_is_no_guess(
    instances: Callable[[int], list[Authenticator]], counter: Counter
) -> None:
    (one,) = instances(1)
    for _ in range(2 * MAX_FAILURES):
        assert await answer(one, basic("off", "s2")) == 403
    assert set(counter.failures.values()) == {0}


async def test_tokens_that_the_signing_service_refuses_count_for_all(
    instances: Callable[[int], list[Authenticator]], counter: Counter
) -> None:
    here, there = instances(2)
    answers = [await answer((here, there)[n % 2], f"Bearer made-up-{n}") for n in range(2 * MAX_FAILURES)]
    assert answers == [401] * MAX_FAILURES + [429] * MAX_FAILURES
    assert await answer(there, basic("one", "s1")) == 200
    assert await answer(here, "Bearer good", ELSEWHERE) == 200
    assert sorted(counter.failures.values())[-1] == MAX_FAILURES


async def test_while_the_database_is_away_each_instance_counts_alone(
    instances: Callable[[int], list[Authenticator]], counter: Counter
) -> None:
    counter.away = True
    here, there = instances(2)
    for one in (here, there):
        answers = [await answer(one, basic("one", f"guess {n}")) for n in range(MAX_FAILURES + 2)]
        assert answers == [401] * MAX_FAILURES + [429] * 2
