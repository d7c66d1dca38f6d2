"""Waiting for signatures that come later: how, and until when."""

import asyncio
from typing import Any

import pytest

from batchseal.errors import CallRejected, OutcomeUnknown, UpstreamRateLimited, UpstreamTransient
from batchseal.system.backoff import Backoff
from batchseal.upstream.interface import Handle
from batchseal.upstream.waiting import answer_of

POLLING = Backoff(0.001, 2.0, 1.5)
ACCOUNT: Any = None  # whose it is does not matter here


class Service:
    """Each poll gets the next of `answers`; an exception among them is raised. After the last one, polls get None."""

    def __init__(self, *answers):
        self.answers, self.polled, self.released = list(answers), 0, 0

    async def poll(self, account, handle):
        self.polled += 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def release(self, account, handle):
        self.released += 1


def handle(seconds=5.0):
    return Handle("responseID", "7", 2, asyncio.get_running_loop().time() + seconds)


async def test_an_answer_at_once_is_not_waited_for():
    service: Any = Service()
    assert await answer_of(service, ACCOUNT, [b"a"], POLLING) == [b"a"] and service.polled == 0


async def test_outages_while_waiting_cost_nothing():
    service: Any = Service(
        None, UpstreamTransient("503"), OutcomeUnknown("reset"), UpstreamRateLimited("429"), [b"a", b"b"]
    )
    assert await answer_of(service, ACCOUNT, handle(), POLLING) == [b"a", b"b"]
    assert (service.polled, service.released) == (5, 0)


async def test_it_is_waited_for_no_longer_than_allowed():
    service: Any = Service()
    with pytest.raises(OutcomeUnknown):
        await answer_of(service, ACCOUNT, handle(0.05), POLLING)
    assert service.polled > 1 and service.released == 1


async def test_a_refusal_ends_the_wait():
    service: Any = Service(None, CallRejected("no such answer"))
    with pytest.raises(CallRejected):
        await answer_of(service, ACCOUNT, handle(), POLLING)
    assert (service.polled, service.released) == (2, 1)
