"""Grants that are requested ahead of their call."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from harness.waiting import eventually, turns

from batchseal.document import Credential
from batchseal.errors import UpstreamTransient
from batchseal.upstream.grants import Grants, call_key
from batchseal.upstream.interface import Account, Grant, RemoteKey
from batchseal.upstream.pace import UpstreamPace
from batchseal.upstream.tokens import CallersToken

ACCOUNT = Account("a", CallersToken("t"), name="A")
CREDENTIAL = Credential("c", (b"",), "ecdsa", 72, "sha256", b"")
KEY = RemoteKey(CREDENTIAL, ec.generate_private_key(ec.SECP256R1()).public_key(), 10, True, "", None)


class Service:
    """A provider whose grants are numbers, in the order of the requests. While `fails` is true, requests raise an error."""

    def __init__(self):
        self.asked, self.fails, self.failures = [], False, 0

    async def authorize(self, account, key, digests, *, request_key, signatures=None):
        self.asked.append((tuple(digests), request_key))
        number = len(self.asked)
        await turns(1)
        if self.fails:
            self.failures += 1
            raise UpstreamTransient("no")
        return Grant(str(number), 300.0)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def kept(service):
    return Grants(service, UpstreamPace(call_digests=1000))


async def take(kept, *digests, key=KEY):
    return (await kept.take(ACCOUNT, key, digests, call_key("r", digests))).value


async def test_the_call_takes_the_grant_of_its_digests_once(kept, service):
    kept.ask_ahead(ACCOUNT, KEY, [b"x", b"y", b"x"], "r")
    assert await take(kept, b"x", b"y") == "1"
    assert await take(kept, b"x", b"y") == "2"
    assert service.asked[0] == service.asked[1], "the request is the same, ahead of the call or with it"


async def test_other_digests_get_another_grant(kept, service):
    kept.ask_ahead(ACCOUNT, KEY, [b"x"], "r")
    await eventually(lambda: service.asked)
    assert await take(kept, b"x", b"y") == "2"
    assert await take(kept, b"y") == "3"
    assert await take(kept, b"x") == "1"


async def test_a_failure_is_the_calls(kept, service):
    service.fails = True
    kept.ask_ahead(ACCOUNT, KEY, [b"x"], "r")
    await eventually(lambda: service.failures)
    service.fails = False
    with pytest.raises(UpstreamTransient):
        await take(kept, b"x")
    assert await take(kept, b"x") == "2"


async def test_one_at_a_time(kept, service):
    for digest in (b"x", b"y"):
        kept.ask_ahead(ACCOUNT, KEY, [digest], "r")
        await turns(1)
    assert await take(kept, b"y") == "2"
    assert [digests for digests, _ in service.asked] == [(b"x",), (b"y",)]


async def test_what_no_call_comes_for_is_forgotten(service):
    kept = Grants(service, UpstreamPace(unused_grant_seconds=0.01))
    kept.ask_ahead(ACCOUNT, KEY, [b"x"], "r")

    def may_ask_again():
        kept.ask_ahead(ACCOUNT, KEY, [b"y"], "r")
        return len(service.asked) == 2

    await eventually(may_ask_again)
    assert await take(kept, b"x") == "3"


@pytest.mark.parametrize(
    ("key", "digests"),
    [
        (replace(KEY, grant_bound=False, multisign=100_000), [b"x"]),  # its grant is kept and renewed
        (KEY, [b"%d" % n for n in range(11)]),  # more digests than fit into one call
    ],
)
async def test_where_nothing_is_asked_ahead(kept, service, key, digests):
    kept.ask_ahead(ACCOUNT, key, digests, "r")
    await turns()
    assert service.asked == []


async def test_closing_ends_what_is_under_way(kept, service):
    kept.ask_ahead(ACCOUNT, KEY, [b"x"], "r")
    kept.close()
    with pytest.raises(asyncio.CancelledError):
        await take(kept, b"x")
