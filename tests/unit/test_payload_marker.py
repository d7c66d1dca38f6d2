"""A store that instances share, and whose marker comes to name another database while they run."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

import msgspec
import pytest
from harness.waiting import until
from tests.conformance.stores import StoreUnderTest, begun, documents, stored
from tests.support.object_stores import SweptFolder, SweptObjects, new_prefix, object_payloads, proxied

from batchseal.errors import DatabaseUnavailable, PayloadsOfAnother, PayloadUnavailable
from batchseal.payloads.interface import Place
from batchseal.payloads.marker import MARKER, Marker
from batchseal.payloads.shared import FolderPlace
from batchseal.processes.link import Link
from batchseal.store.store import Store
from batchseal.worker.readiness import Readiness


class Shared(NamedTuple):
    """A store of one instance, and the same place as somebody else writes to it."""

    payloads: SweptFolder | SweptObjects
    place: Place

    @property
    def under_test(self) -> StoreUnderTest:
        return cast(StoreUnderTest, self.payloads)

    @property
    def database(self) -> UUID:
        return self.payloads.database.now.database

    def belongs_to(self, database: UUID) -> None:
        self.place.write(MARKER, msgspec.json.encode(Marker(database)))

    def refuses(self, kind: type[PayloadUnavailable] = PayloadsOfAnother) -> bool:
        """Whether an upload is refused: before its body, or else before anything is stored."""
        try:
            self.payloads.free_bytes()
            begun(self.under_test).abandon()
        except kind:
            return True
        return False


def folder(path: Path) -> Shared:
    path.mkdir()
    return Shared(SweptFolder(path), FolderPlace(path, set))


def objects(path: Path) -> Shared:
    address = new_prefix(proxied("seaweedfs"))
    return Shared(SweptObjects(address, path), object_payloads(address, path.with_name("other")).place)


@pytest.fixture(params=[folder, objects])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Shared:
    make: Callable[[Path], Shared] = request.param
    made = make(tmp_path / "store")
    made.payloads.place.keep_to(made.database)
    return made


def test_no_upload_is_taken_until_the_marker_is_right_again(shared: Shared) -> None:
    assert not shared.refuses(PayloadUnavailable)
    shared.belongs_to(uuid4())
    until(shared.refuses)
    with suppress(PayloadUnavailable):  # a call that is answered does not make the store ours again
        shared.payloads.delete([])
    assert shared.refuses()
    shared.belongs_to(shared.database)
    until(lambda: not shared.refuses(PayloadUnavailable))


def test_what_is_missing_in_the_store_of_another_is_not_called_damaged(shared: Shared, tmp_path: Path) -> None:
    record = stored(shared.under_test, documents(b"content"))
    shared.belongs_to(uuid4())
    shared.place.remove([record.id])
    payloads: Any = shared.payloads
    if isinstance(payloads, SweptObjects):  # as an instance without a copy reads it
        payloads = object_payloads(payloads.objects.address, tmp_path / "no copies")
        payloads.place.keep_to(shared.database)
    with pytest.raises(PayloadsOfAnother):
        payloads.open(record)


async def test_an_instance_is_not_ready_while_its_store_is_anothers(shared: Shared) -> None:
    class Signer:
        async def call(self, *_: Any, **__: Any) -> str:
            raise DatabaseUnavailable("the signer does not answer")

        async def ping(self) -> None: ...

    signer = Signer()
    readiness = Readiness(cast(Store, signer), cast(Link, signer), shared.payloads)
    assert (await readiness.ready())["payloads"] == "ok"
    shared.belongs_to(uuid4())
    until(shared.refuses)
    assert "belongs to another database" in (said := (await readiness.ready())["payloads"])
    assert not said.startswith("warning")
