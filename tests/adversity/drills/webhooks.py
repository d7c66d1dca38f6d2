"""Webhooks: a receiver that fails, hangs and redirects, and a service that is killed twice. Each event is delivered."""

import json
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.service import RunningService
from harness.webhook_receiver import FAIL, HANG, REDIRECT, SECRET, TAKE, WebhookReceiver
from tests.adversity.drills import registry
from tests.adversity.drills.crashes import after_a_first_start, crashed, judge_ended
from tests.adversity.drills.purging import copied, crashing
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import ASYNC, FAST, batch, documents, post, until

from batchseal.operation import OperationStatus
from batchseal.system import crash_sites

QUICK_EVENTS, SHORT_EVENTS, LONG_EVENTS = 150, 1_000, 10_000
# Twenty retries a second or two apart: nobody waits for hours, and no event is given up although a third of the tries fails.
RETRIES = "0 1 1 1 1 1 1 1 1 1 2 2 2 2 2 2 2 2 2 2"
FLAGS = (*FAST, "--sandbox", "--webhook-hosts=127.0.0.1", f"--webhook-retries={RETRIES}", "--webhook-timeout=2")
# Of a hundred requests so many fail; some of those hang, and some are answered with a redirect.
FAILING, HANGING, REDIRECTED = 30, 1, 5
SENDERS = 4
SECONDS_AN_EVENT = 0.5
CLIENT = "webhook-client"
SITES = tuple(site for site in crash_sites.SITES if site.startswith("webhook"))
TOLD_SECONDS = 30


def services_file(folder: Path, url: str) -> None:
    work = folder / "work"
    work.mkdir(mode=0o755, exist_ok=True)
    entry = {"secret": "the secret of a drill's client", "webhook": {"url": url, "secret": SECRET}}
    file = work / "client-services-config.json"
    file.write_text(json.dumps({CLIENT: entry}))
    file.chmod(0o600)


class Feeder:
    """Registers operations of one small document, from several threads. `accepted`: those that the service has acknowledged."""

    def __init__(self, count: int) -> None:
        self.accepted: dict[int, str] = {}
        self._left = iter(range(count))
        self._lock = threading.Lock()
        self._content = documents(1, size_bytes=2_000)

    def feed(self, service: RunningService, until_accepted: int) -> None:
        """Goes on until so many are accepted, or there are no more."""

        def work() -> None:
            while len(self.accepted) < until_accepted:
                with self._lock:
                    number = next(self._left, None)
                if number is None:
                    return
                status, _, body = post(service, batch(f"event {number}", self._content), ASYNC)
                assert status == 200, (status, body[:300])
                self.accepted[json.loads(body)["id"]] = f"event {number}"

        threads = [threading.Thread(target=work) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@drill("webhooks", quick=1, short=2, long=1)
def webhooks(folder: Path) -> Iterator[Trial]:
    """Two kills of everything while events are sent; every operation that was acknowledged is told of."""
    events = LONG_EVENTS if registry.LONG else SHORT_EVENTS if registry.FULL else QUICK_EVENTS

    def trial(number: int) -> Figures:
        chance = random.Random(number)

        def behave(_: int) -> str:
            at = chance.randrange(100)
            return HANG if at < HANGING else REDIRECT if at < REDIRECTED else FAIL if at < FAILING else TAKE

        place = folder / f"webhooks {number}"
        place.mkdir()
        place.chmod(0o711)
        feeder = Feeder(events)
        with WebhookReceiver(behave) as receiver:
            services_file(place, receiver.url)
            for part in (events // 3, events * 2 // 3):
                with RunningService(*FLAGS, folder=place) as service:
                    # Some may be told of while the others are still being sent, and perhaps all.
                    before = len(receiver.taken)
                    feeder.feed(service, part)
                    until(lambda: len(receiver.taken) > before, within(60))  # noqa: B023
                    service.kill()
            with RunningService(*FLAGS, folder=place) as service:
                feeder.feed(service, events)
                wanted = set(feeder.accepted)
                until(lambda: wanted <= receiver.operations(), within(60 + events * SECONDS_AN_EVENT), 0.2)
            return judged(receiver, feeder)

    yield trial


@drill("kill-sites-webhooks", quick=len(SITES), short=4 * len(SITES), long=20 * len(SITES))
def kill_sites_webhooks(folder: Path) -> Iterator[Trial]:
    """Each site of webhooks in turn. At every second one everything ends, at the others the signer alone. The event comes."""
    content = documents(1, size_bytes=2_000)
    fresh = after_a_first_start(folder)

    def trial(number: int) -> Figures:
        round_number, at = divmod(number, len(SITES))
        site, everything = SITES[at], (at + round_number) % 2 == 0
        place = folder / f"site {number}"
        copied(fresh, place)
        with WebhookReceiver() as receiver:
            services_file(place, receiver.url)
            service = RunningService(*FLAGS, folder=place)
            with crashing(site, everything), suppress(SystemExit), service:
                answer = post(service, batch("site", content), ASYNC)
                crashed(service, everything, answer)
                if not everything:
                    until(lambda: receiver.operations(), within(TOLD_SECONDS))
            if everything:
                judge_ended(place)
                with RunningService(*FLAGS, folder=place):
                    until(lambda: receiver.operations(), within(TOLD_SECONDS))
            events = {one.id for one in receiver.deliveries}
            assert len(events) == 1, f"{site}: one end has {len(events)} events"
            assert all(one.kind for one in receiver.deliveries), f"{site}: a signature was not right"
            sent = len(receiver.deliveries)
        shutil.rmtree(place, ignore_errors=True)
        return {"requests_max": sent}

    yield trial


def judged(receiver: WebhookReceiver, feeder: Feeder) -> Figures:
    """Raises AssertionError for an event that is wrong."""
    taken = receiver.taken
    by_operation = Counter(one.data["id"] for one in taken.values())
    assert set(by_operation.values()) == {1}, "one end has two events"
    for one in taken.values():
        assert one.kind == "operation.finished" and one.data["status"] == OperationStatus.EXECUTED.name, one.data
        expected = feeder.accepted.get(one.data["id"])
        assert expected in (None, one.data["externalReference"]), one.data  # None: its acknowledgement was cut off
        assert (one.data["documentsTotal"], one.data["documentsSigned"], one.data["documentsFailed"]) == (1, 1, 0)
    assert all(one.kind for one in receiver.deliveries), "a signature was not right"
    assert receiver.redirected == 0, "a redirect was followed"
    answered = Counter(one.answered for one in receiver.deliveries)
    again = sum(count - 1 for count in Counter(one.id for one in receiver.deliveries if one.answered == TAKE).values())
    return {
        "events": len(taken),
        "requests": len(receiver.deliveries),
        "requests_failed": answered[FAIL] + answered[HANG] + answered[REDIRECT],
        "delivered_twice": again,
        "most_at_once": receiver.most_under_way,
    }
