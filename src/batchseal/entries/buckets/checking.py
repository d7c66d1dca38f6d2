"""Checks of prefixes: what overlaps, what the store refuses, and what is not as it should be. Blocking."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from batchseal.entries.buckets.names import PrefixName, parse
from batchseal.entries.claims import PRIVATE
from batchseal.errors import ConfigurationError, NoSpace, PayloadDamaged, PayloadUnavailable
from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.objects import NO_BUCKET, REFUSED_KEYS, ObjectPace, Objects
from batchseal.payloads.stores import prefix_beside
from batchseal.settings.load import Settings
from batchseal.settings.payload_stores import parse_store

TRIAL = f"{PRIVATE}/trials"
CONTENT = b"batchseal check"
LEFT_AFTER = timedelta(hours=1)
# A start is not to wait for a store that is away, which is no mistake in the configuration.
PACE = ObjectPace(request_seconds=20.0, retries=1, retry_seconds=3.0)
# What does not pass by itself.
REFUSALS = (REFUSED_KEYS, NO_BUCKET, "answers 401", "answers 403")


@dataclass(slots=True)
class Tried:
    """What is wrong with a prefix, what may pass by itself, and what ought to be known."""

    faults: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def find_prefixes(settings: Settings, written: Mapping[str, str]) -> tuple[dict[str, PrefixName], Tried]:
    """The prefixes of a client service, by the keys of the configuration, and what is to be said of them."""
    found, tried = dict[str, PrefixName](), Tried()
    for key, text in written.items():
        try:
            found[key] = parse(text)
            objects, requests = prefix_beside(settings, found[key].bucket, found[key].prefix, str(found[key]), PACE)
        except ConfigurationError as problem:
            tried.faults.append(f"{key}: {problem.cause}")
            continue
        if overlaps := overlap_with_payloads(settings, found[key]):
            tried.faults.append(f"{key} {overlaps}")
            continue
        try_prefix(key, found[key], objects, requests, tried)
    tried.remarks += beside_payloads(settings, found.values())
    return found, tried


def try_prefix(key: str, name: PrefixName, objects: Objects, requests: BucketRequests, tried: Tried) -> None:
    """Lists, puts, reads and deletes, as work does."""
    trial = f"{TRIAL}/{secrets.token_hex(6)}"
    try:
        objects.delete(left_trials(objects))
        objects.put(trial, CONTENT)
        if objects.get(trial)[0] != CONTENT:
            tried.faults.append(f"{key} {name} gives back other bytes than it was given")
        objects.delete([trial])
        if objects.size(trial) is not None:
            tried.faults.append(f"{key} {name} keeps what was deleted, so that it would be found again and again")
        if requests.can_ask and requests.keeps_versions():
            tried.remarks.append(
                f"WARNING: the bucket {name.bucket} keeps versions, so what is taken from {key} stays as an earlier version"
            )
    except PayloadDamaged:
        tried.faults.append(f"{key} {name}: there is no such bucket, or it does not give back what it was given")
    except NoSpace as problem:
        tried.away.append(f"{key} {name}: {problem.cause}")
    except PayloadUnavailable as problem:
        if any(text in problem.cause for text in REFUSALS):
            tried.faults.append(
                f"{key} {name}: {problem.cause}; the keys of --payload-store must list, read, write and delete in it"
            )
        else:
            tried.away.append(f"{key} {name}: {problem.cause}")


def left_trials(objects: Objects) -> list[str]:
    """Trials of checks that were killed. What another instance tries now is left alone."""
    before = datetime.now(UTC) - LEFT_AFTER
    return [one.key for page in objects.list(TRIAL) for one in page if one.stored_at < before]


def payloads_at(settings: Settings) -> PrefixName | None:
    address = parse_store(settings.payload_store).objects
    return None if address is None else PrefixName(address.bucket, address.prefix)


def overlap_with_payloads(settings: Settings, name: PrefixName) -> str:
    payloads = payloads_at(settings)
    if payloads is None or not name.overlaps(payloads):
        return ""
    return f"{name} overlaps with the payload store, {payloads}; choose another prefix, better in another bucket"


def beside_payloads(settings: Settings, names: Iterable[PrefixName]) -> Iterator[str]:
    """Whoever brings documents has keys of the bucket, and those of a whole bucket also open the payloads."""
    payloads = payloads_at(settings)
    if payloads is not None and any(name.bucket == payloads.bucket for name in names):
        yield (
            f"WARNING: the prefixes lie in the bucket of the payloads, {payloads.bucket}; give them a bucket of their own, or "
            f"keep whoever uses them out of {payloads}"
        )


def overlaps(named: Iterable[tuple[str, str, PrefixName]]) -> Iterator[tuple[str, str]]:
    """Prefixes that are the same or lie in each other, given by client service and key: the client service and the fault."""
    every = list(named)
    for number, (service, key, name) in enumerate(every):
        for other_service, other_key, other in every[:number]:
            if name.overlaps(other):
                whose = "" if other_service == service else f" of client service {other_service}"
                yield service, f"{key} {name} and {other_key} {other}{whose} overlap; give each a prefix of its own"
