"""Who is locked out by failed logins, and who is not: with a secret, a token of the proxy, a token of the signing service."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness.waiting import eventually, turns
from tests.support.logins import ELSEWHERE, HERE, answer, authenticator_of, basic, written_services

from batchseal.api.attempts import MAX_FAILURES, Attempts
from batchseal.api.authentication import Authenticator
from batchseal.errors import ApiError, InvalidToken, TooManyRequests, UnknownClientService, UpstreamUnavailable
from batchseal.operation import Caller
from batchseal.system import jwt

CLIENTS = {"one": {"secret": "s1"}, "a b": {"secret": "s+2"}}


def jwt_of(client: str, signature: str) -> str:
    return ".".join((jwt.encode(b'{"alg":"RS256"}'), jwt.encode(json.dumps({"client_id": client}).encode()), signature))


class Upstream:
    """A signing service that accepts tokens that end in "good". While `held` is set, it lets every call wait for it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None
        self.down = False

    async def probe(self, token: str) -> str | None:
        self.asked.append(token)
        if self.held is not None:
            await self.held.wait()
        if self.down:
            raise UpstreamUnavailable("away")
        return "one" if token.endswith("good") else None


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def authenticator(tmp_path: Path, upstream: Upstream) -> Iterator[Authenticator]:
    with closing(Attempts(tmp_path / "attempts")) as attempts:
        yield authenticator_of(written_services(tmp_path, CLIENTS), attempts, probe=upstream.probe)


async def test_105_failures_with_other_names_stop_nobody(authenticator: Authenticator) -> None:
    token = authenticator.issue("one", "s1", HERE).token
    for number in range(105):
        assert await answer(authenticator, basic(f"nobody {number}", "x")) == 401
    assert await answer(authenticator, basic("one", "s1")) == 200
    assert await answer(authenticator, "Bearer " + token) == 200


async def test_a_locked_name_is_locked_here_alone_and_for_secrets_alone(authenticator: Authenticator) -> None:
    token = authenticator.issue("one", "s1", HERE).token
    answers = [await answer(authenticator, basic("one", f"guess {n}")) for n in range(12)]
    assert answers == [401] * MAX_FAILURES + [429] * 2
    assert await answer(authenticator, basic("one", "s1")) == 429
    with pytest.raises(TooManyRequests):
        authenticator.issue("one", "s1", HERE)
    assert await answer(authenticator, basic("one", "s1"), ELSEWHERE) == 200
    assert await answer(authenticator, basic("a b", "s+2")) == 200
    assert await answer(authenticator, "Bearer " + token) == 200
    # A token of the signing service is another secret.
    assert await answer(authenticator, "Bearer good") == 200


async def test_each_reading_of_credentials_is_a_guess(authenticator: Authenticator) -> None:
    """Plain and form-encoded: `a%2Bb` is tried as it is, and as `a+b`."""
    for number in range(MAX_FAILURES // 2):
        with pytest.raises(UnknownClientService):
            authenticator.issue("one", f"a%2B{number}", HERE, form_encoded=True)
    with pytest.raises(TooManyRequests):
        authenticator.issue("one", "s1", HERE)


async def test_a_locked_reading_stops_no_other(authenticator: Authenticator) -> None:
    """`a+b` form-encoded is the id `a b`. Whoever locks one of the two does not lock the other."""
    for number in range(MAX_FAILURES):
        assert await answer(authenticator, basic("a+b", f"guess {number}")) == 401
    assert authenticator.issue("a+b", "s%2B2", HERE, form_encoded=True).token
    answers = []
    for number in range(MAX_FAILURES + 2):
        try:
            authenticator.issue("a+b", f"guess {number}", HERE, form_encoded=True)
        except ApiError as error:
            answers.append(error.status)
    # The open reading is compared and counted, until it is locked too.
    assert answers == [429] * (MAX_FAILURES + 2)
    assert await answer(authenticator, basic("a b", "s+2")) == 429


async def test_simultaneous_made_up_tokens_are_not_all_asked_about(
    authenticator: Authenticator, upstream: Upstream
) -> None:
    upstream.held = asyncio.Event()
    callers = [asyncio.create_task(answer(authenticator, f"Bearer made-up-{number}")) for number in range(150)]
    await eventually(lambda: len(upstream.asked) == MAX_FAILURES)
    await turns(20)
    upstream.held.set()
    answers = await asyncio.gather(*callers)
    assert len(upstream.asked) == MAX_FAILURES
    assert (answers.count(401), answers.count(429)) == (MAX_FAILURES, 140)


async def test_a_valid_token_waits_for_room_behind_made_up_ones(
    authenticator: Authenticator, upstream: Upstream
) -> None:
    """It is refused only once as many were refused as may be."""
    upstream.held = asyncio.Event()
    callers = [asyncio.create_task(answer(authenticator, f"Bearer {n} good")) for n in range(3 * MAX_FAILURES)]
    await eventually(lambda: len(upstream.asked) == MAX_FAILURES)
    upstream.held.set()
    assert await asyncio.gather(*callers) == [200] * 3 * MAX_FAILURES


async def test_one_token_on_many_requests_is_asked_about_once(authenticator: Authenticator, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    callers = [asyncio.create_task(answer(authenticator, "Bearer good")) for _ in range(50)]
    await eventually(lambda: upstream.asked)
    upstream.held.set()
    assert await asyncio.gather(*callers) == [200] * 50
    assert upstream.asked == ["good"]


async def test_a_guess_counts_although_its_caller_has_gone(authenticator: Authenticator, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    for number in range(MAX_FAILURES):
        caller = asyncio.create_task(answer(authenticator, f"Bearer made-up-{number}"))
        await eventually(lambda n=number: len(upstream.asked) == n + 1)  # type: ignore[misc]
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    upstream.held.set()
    await turns(10)
    assert await answer(authenticator, "Bearer another") == 429


async def test_a_token_that_was_accepted_is_never_locked_out(
    tmp_path: Path, authenticator: Authenticator, upstream: Upstream
) -> None:
    """Also by another worker, which has not asked about it yet."""
    assert await answer(authenticator, "Bearer good") == 200
    for number in range(MAX_FAILURES + 1):
        await answer(authenticator, f"Bearer made-up-{number}")
    assert await answer(authenticator, "Bearer unseen-good") == 429
    attempts = Attempts(tmp_path / "attempts")
    other = Authenticator(authenticator.services, authenticator.tokens, upstream.probe, attempts)
    assert await other.caller("Bearer good", HERE) == Caller("one")
    with pytest.raises(TooManyRequests):
        await other.caller("Bearer unseen-good", HERE)
    attempts.close()


async def test_made_up_tokens_do_not_lock_a_new_token_of_a_client(
    authenticator: Authenticator, upstream: Upstream
) -> None:
    """A token that names a configured client counts for that client. Names that nobody has count together."""
    for number in range(2 * MAX_FAILURES):
        await answer(authenticator, f"Bearer {jwt_of(f'made-up-{number}', 'x')}")
    assert len(upstream.asked) == MAX_FAILURES
    assert await answer(authenticator, f"Bearer {jwt_of('one', 'good')}") == 200


async def test_forged_tokens_of_the_proxy_are_no_guesses(authenticator: Authenticator, upstream: Upstream) -> None:
    """Nor are its tokens that have run out: a client that forgot to renew its token stops nobody."""
    genuine = authenticator.issue("one", "s1", HERE).token
    forged = genuine.rpartition(".")[0] + ".AAAA"
    for _ in range(3 * MAX_FAILURES):
        with pytest.raises(InvalidToken):
            await authenticator.caller("Bearer " + forged, HERE)
    assert await answer(authenticator, "Bearer good") == 200
    assert upstream.asked == ["good"]


async def test_an_outage_of_the_signing_service_locks_nobody(authenticator: Authenticator, upstream: Upstream) -> None:
    upstream.down = True
    for number in range(2 * MAX_FAILURES):
        with pytest.raises(UpstreamUnavailable):
            await authenticator.caller(f"Bearer {number} good", HERE)
    upstream.down = False
    assert await answer(authenticator, "Bearer 0 good") == 200
