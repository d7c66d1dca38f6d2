"""Payload stores that several instances share, as tests use them: a folder, and prefixes of object stores that run once."""

import atexit
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from uuid import UUID, uuid4

from harness.object_stores import BUCKET, KEYS, STORES
from harness.store_proxy import StoreProxy

from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.frame_reader import FrameReader
from batchseal.payloads.interface import Live, PayloadRecord
from batchseal.payloads.objects import ObjectPace, Objects
from batchseal.payloads.orphans import OrphanPolicy, Orphans, claim
from batchseal.payloads.s3 import ObjectPayloads
from batchseal.payloads.shared import SharedPayloads
from batchseal.payloads.watch import WatchPace
from batchseal.settings.payload_stores import ObjectAddress
from batchseal.store.identity import DatabaseState

# A store that is away is tried by each call, so that tests need not wait for a probe.
EAGER = WatchPace(probe_seconds=0)
# The number of retries is their only bound: on a busy disk the store takes seconds for a request that is to be repeated.
QUICK = ObjectPace(retries=1, retry_seconds=60, first_pause_seconds=0.01, watch=EAGER)
AT_ONCE = OrphanPolicy(aside_seconds=0, delete_seconds=0)


@cache
def proxied(server: str) -> StoreProxy:
    """The proxy before an object store of this kind. Both run until the process ends."""
    with ExitStack() as stack:
        store = stack.enter_context(STORES[server]())
        proxy = stack.enter_context(StoreProxy(store.url))
        atexit.register(stack.pop_all().close)
    return proxy


def new_prefix(proxy: StoreProxy) -> ObjectAddress:
    return ObjectAddress(bucket=BUCKET, prefix=f"test/{uuid4()}", endpoint=proxy.url)


def object_payloads(address: ObjectAddress, copies: Path, pace: ObjectPace = QUICK) -> ObjectPayloads:
    """The store of one instance, which keeps its copies in a folder of its own."""
    copies.mkdir(exist_ok=True)
    requests = BucketRequests(address, lambda: KEYS)
    return ObjectPayloads(Objects(address, lambda: KEYS, requests, pace), requests, copies)


def new_state() -> DatabaseState:
    return DatabaseState(uuid4(), 1, 1, 0)


class Counted:
    """A database that counts its sweeps, and is otherwise as `now` says."""

    def __init__(self, now: DatabaseState) -> None:
        self.now = now

    async def state(self) -> DatabaseState:
        return self.now

    async def begin_sweep(self) -> DatabaseState:
        self.now = replace(self.now, sweeps=self.now.sweeps + 1)
        return self.now


class SweptObjects(ObjectPayloads):
    """With a sweep that has no periods, and takes what is this instance's and what is all instances'."""

    def __init__(self, address: ObjectAddress, copies: Path, *, policy: OrphanPolicy = AT_ONCE) -> None:
        copies.mkdir(exist_ok=True)
        requests = BucketRequests(address, lambda: KEYS)
        super().__init__(Objects(address, lambda: KEYS, requests, QUICK), requests, copies)
        self.database = Counted(new_state())
        claim(self.place, self.database.now)
        self.orphans = Orphans(self.place, policy)

    async def sweep(self, live: Live) -> list[UUID]:
        return together(await super().sweep(live), await self.orphans.sweep(live, self.database))


class OthersObjects(SweptObjects):
    """Whatever is stored is read by another instance, which has no copy of it."""

    def __init__(self, address: ObjectAddress, copies: Path) -> None:
        super().__init__(address, copies)
        self.other = object_payloads(address, copies.with_name("other"))

    def open(self, record: PayloadRecord) -> FrameReader:
        self.make_durable(record)  # another instance sees nothing before that
        return self.other.open(record)


class SweptFolder(SharedPayloads):
    def __init__(self, folder: Path, *, policy: OrphanPolicy = AT_ONCE) -> None:
        super().__init__(folder, EAGER)
        self.database = Counted(new_state())
        claim(self.place, self.database.now)
        self.orphans = Orphans(self.place, policy)

    async def sweep(self, live: Live) -> list[UUID]:
        return together(await super().sweep(live), await self.orphans.sweep(live, self.database))


def together(*found: Sequence[UUID]) -> list[UUID]:
    return list({one for some in found for one in some})
