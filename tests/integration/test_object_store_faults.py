"""Payloads while their object store is slow, cut off, wrong or gone: never a wrong byte, and nothing is left behind."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from harness.store_proxy import StoreProxy
from harness.waiting import until
from tests.support.object_stores import new_prefix, object_payloads, proxied

from batchseal.errors import NoSpace, PayloadDamaged, PayloadUnavailable
from batchseal.payloads.frames import HEADER_BYTES, FrameKind
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.objects import PART_BYTES
from batchseal.payloads.orphans import claim
from batchseal.payloads.s3 import ObjectPayloads
from batchseal.store.identity import DatabaseState

RANDOM = random.Random(3)
DOCUMENT, PREPARED = FrameKind.DOCUMENT, FrameKind.PREPARED
CONTENTS = [RANDOM.randbytes(200_000) for _ in range(100)]  # three parts


class Rig:
    """Two instances that share a prefix: `own` writes, `other` has no copies."""

    def __init__(self, proxy: StoreProxy, folder: Path) -> None:
        self.proxy = proxy
        address = new_prefix(proxy)
        self.own = object_payloads(address, folder / "own")
        self.other = object_payloads(address, folder / "other")
        self.address = address
        self.key = address.prefix.rpartition("/")[2]  # no other test has it
        claim(self.own.place, DatabaseState(uuid4(), 1, 1, 0))

    def stored(self, contents: list[bytes] = CONTENTS, *, durable: bool = True) -> PayloadRecord:
        upload = self.own.create(uuid4())
        try:
            upload.begin()
            for first in range(0, len(contents), 10):
                some = list(enumerate(contents))[first : first + 10]
                upload.append((DOCUMENT, n, content) for n, content in some)
                upload.append((PREPARED, n, b"prepared %d" % n) for n, _ in some)
            record = upload.commit(durable=durable)
            upload.release()
        except BaseException:
            upload.abandon()
            raise
        return record

    def read(self, payloads: ObjectPayloads, record: PayloadRecord, count: int = len(CONTENTS)) -> list[bytes]:
        with payloads.open(record) as reader:
            found = [reader.read(DOCUMENT, n) for n in range(count)]
            assert [reader.read(PREPARED, n) for n in range(count)] == [b"prepared %d" % n for n in range(count)]
            return found

    def asked(self, method: str = "", *parts: str) -> int:
        """How many requests for objects of this prefix have come."""
        return self.proxy.asked(method, self.key, *parts)

    def left(self) -> tuple[int, int, int]:
        """Objects, open uploads, local files."""
        files = sum(1 for path in self.own.copies.folder.iterdir())
        return len(self.own.place.payloads()), len(self.own.requests.open_uploads(self.own.prefix)), files


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    proxy = proxied("seaweedfs")
    yield Rig(proxy, tmp_path)
    proxy.back()


def sometimes(fault: str, every: int, method: str = "") -> Callable[[str, str], str]:
    calls = 0

    def asked(came: str, target: str) -> str:
        nonlocal calls
        calls += came == method or not method
        return fault if (came == method or not method) and calls % every == 0 else ""

    return asked


# --- what costs time alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["slow", "cut", "500", "503 SlowDown", "truncated", "wrong"])
def test_what_fails_now_and_then_is_tried_again(rig: Rig, fault: str) -> None:
    before = rig.proxy.done
    rig.proxy.fault = sometimes(fault, 3)
    record = rig.stored()
    assert rig.read(rig.other, record) == CONTENTS
    assert rig.read(rig.own, record) == CONTENTS
    assert rig.proxy.done > before


@pytest.mark.parametrize("size", [1000, 3 * PART_BYTES])
def test_an_acknowledgement_that_is_lost_is_asked_for(rig: Rig, size: int) -> None:
    """The store has the object, and its answer did not come: to the one request, or to the last one of many."""
    method = "PUT" if size < PART_BYTES else "POST"
    rig.proxy.fault = lambda came, target: "lost answer" if came == method and "uploads" not in target else ""
    record = rig.stored([RANDOM.randbytes(size)])
    rig.proxy.back()
    assert len(rig.read(rig.other, record, 1)[0]) == size
    assert rig.left() == (1, 0, 1)


# --- what ends an upload -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", "500", "503 SlowDown", "away"])
def test_an_upload_that_the_store_does_not_take_leaves_nothing(rig: Rig, fault: str) -> None:
    rig.proxy.fault = lambda method, target: fault if method == "PUT" and "partNumber=2" in target else ""
    with pytest.raises(PayloadUnavailable):
        rig.stored()
    rig.proxy.back()
    assert rig.left() == (0, 0, 0)


def test_a_store_that_is_full_says_so(rig: Rig) -> None:
    rig.proxy.fault = lambda method, target: "500 QuotaExceeded" if method == "PUT" else ""
    with pytest.raises(NoSpace):
        rig.stored([b"small"])
    assert not rig.own.is_away


def test_an_upload_that_is_given_up_leaves_nothing(rig: Rig) -> None:
    for documents in (1, 45, 90):
        upload = rig.own.create(uuid4())
        upload.begin()
        upload.append((DOCUMENT, n, content) for n, content in enumerate(CONTENTS[:documents]))
        upload.abandon()
    assert rig.left() == (0, 0, 0)


KILLED = """
import sys, uuid, json
from pathlib import Path
from harness.object_stores import KEYS
from tests.support.object_stores import object_payloads
from batchseal.payloads.frames import FrameKind
from batchseal.settings.payload_stores import ObjectAddress
payloads = object_payloads(ObjectAddress(**json.loads(sys.argv[1])), Path(sys.argv[2]))
uploads = [payloads.create(uuid.uuid4()) for _ in range(5)]
for upload in uploads:
    upload.begin()
    upload.append([(FrameKind.DOCUMENT, 0, bytes(10 << 20))])
print("begun", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_leaves_open_is_swept(rig: Rig, tmp_path: Path) -> None:
    address = json.dumps({"bucket": rig.address.bucket, "prefix": rig.address.prefix, "endpoint": rig.address.endpoint})
    before = rig.asked("PUT", "partNumber=1")
    command = [sys.executable, "-c", KILLED, address, str(tmp_path / "killed")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        until(lambda: rig.asked("PUT", "partNumber=1") >= before + 5)
        process.kill()
    # What it had sent is with the store or nowhere: a part that comes after the sweep would be there again.
    until(lambda: not rig.proxy.asked_now("", rig.key))
    assert rig.left()[1] == 5
    assert len(rig.own.place.remove_unfinished(rig.own.place.now())) == 5
    assert rig.left()[:2] == (0, 0)


# --- how much is asked, and held --------------------------------------------------------------------------------------


def test_two_parts_at_most_are_under_way(rig: Rig) -> None:
    most = 0

    def counted(method: str, target: str) -> str:
        nonlocal most
        if "partNumber" in target:
            most = max(most, rig.proxy.asked_now("PUT", rig.key, "partNumber"))
        return ""

    rig.proxy.fault = counted
    rig.stored()
    assert 1 <= most <= 2


def test_a_payload_is_read_in_windows(rig: Rig) -> None:
    record = rig.stored()
    before = rig.asked()
    assert rig.read(rig.other, record) == CONTENTS
    windows = -(-record.stored_bytes // PART_BYTES)
    # One request for the index; what was prepared of the last documents of a window may stand in the next one.
    assert 0 < rig.asked() - before <= 3 * windows + 3
    before = rig.asked()
    with rig.other.open(record) as reader:
        assert reader.ordinals(PREPARED) == set(range(100))
        assert reader.read(PREPARED, 99) == b"prepared 99"
    assert rig.asked() - before <= 1 + 10, "small frames that stand together come together"


def test_a_large_document_that_was_changed_on_its_way_is_read_once_more(rig: Rig) -> None:
    """It is checked in blocks and never held as a whole."""
    content = RANDOM.randbytes(3 * PART_BYTES)
    record, wrong = rig.stored([content]), ["wrong"]
    with rig.other.open(record) as reader:
        rig.proxy.fault = lambda method, target: wrong.pop() if method == "GET" and wrong else ""
        checked = reader.checked(DOCUMENT, 0)
        assert not wrong
        assert b"".join(checked.read(at, at + PART_BYTES) for at in range(0, len(content), PART_BYTES)) == content
        wrong.append("wrong")
        assert reader.ordinals(DOCUMENT) == {0}
        assert not wrong


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda data: changed(data, HEADER_BYTES + 7), lambda data: changed(data, 5), lambda data: data[:-1]],
    ids=["a content", "a header", "its end"],
)
def test_what_is_damaged_in_a_copy_comes_from_the_store(rig: Rig, damage: Callable[[bytes], bytes]) -> None:
    record = rig.stored()
    path = rig.own.copies.path(record.id)
    path.write_bytes(damage(path.read_bytes()))
    assert rig.read(rig.own, record) == CONTENTS
    assert not rig.own.copies.has(record.id)
    assert rig.read(rig.own, record) == CONTENTS


def test_a_large_document_that_is_damaged_in_a_copy_comes_from_the_store(rig: Rig) -> None:
    content = RANDOM.randbytes(3 * PART_BYTES)
    record = rig.stored([content])
    path = rig.own.copies.path(record.id)
    path.write_bytes(changed(path.read_bytes(), PART_BYTES))
    with rig.own.open(record) as reader:
        assert reader.ordinals(DOCUMENT) == {0}
        checked = reader.checked(DOCUMENT, 0)
        assert b"".join(checked.read(at, at + PART_BYTES) for at in range(0, len(content), PART_BYTES)) == content


def test_own_payloads_are_read_without_asking_the_store(rig: Rig) -> None:
    record = rig.stored()
    before = rig.asked()
    assert rig.read(rig.own, record) == CONTENTS
    assert rig.asked() == before


def test_a_copy_goes_when_its_room_is_needed(rig: Rig) -> None:
    records = [rig.stored([RANDOM.randbytes(300_000)]) for _ in range(3)]
    unsettled = rig.stored([RANDOM.randbytes(300_000)], durable=False)
    assert rig.own.make_room(1) >= 300_000
    assert [rig.own.copies.has(record.id) for record in records] == [False, True, True]
    assert rig.own.make_room(1 << 30) >= 600_000
    assert rig.own.copies.unsettled(unsettled.id) is not None, "the store does not have it yet"
    for record in records:
        assert len(rig.read(rig.own, record, 1)[0]) == 300_000


def test_copies_of_before_the_machine_went_down_are_not_read(rig: Rig, tmp_path: Path) -> None:
    """They were never fsynced, and may hold anything."""
    record = rig.stored([b"right"])
    after = type(rig.own.copies)(tmp_path / "own", "another-boot")
    assert after.open(record, lambda: rig.other.open(record)) is None
    assert rig.own.copies.open(record, lambda: rig.other.open(record)) is not None


def test_nothing_is_stored_before_the_store_has_its_marker(rig: Rig, tmp_path: Path) -> None:
    """As after a start while the store was away. What lay there by then would keep every database from claiming the place."""
    new = object_payloads(new_prefix(rig.proxy), tmp_path / "new")
    upload = new.create(uuid4())
    with pytest.raises(PayloadUnavailable) as caught:
        upload.begin()
    upload.abandon()
    assert rig.address.endpoint not in caught.value.cause, "callers read it"
    claim(new.place, DatabaseState(uuid4(), 1, 1, 0))
    again = new.create(uuid4())
    again.begin()
    again.abandon()
    assert not list(new.copies.folder.iterdir())


# --- an object that is wrong, or gone -----------------------------------------------------------------------------------


def test_an_object_that_is_wrong_costs_the_document_alone(rig: Rig) -> None:
    record = rig.stored()
    rig.proxy.fault = lambda method, target: "wrong" if method == "GET" else ""
    with pytest.raises(PayloadDamaged):
        rig.read(rig.other, record)
    rig.proxy.back()
    assert rig.read(rig.other, record) == CONTENTS


def test_a_bucket_that_is_gone_is_not_an_object_that_is_gone(rig: Rig) -> None:
    record = rig.stored([b"content"])
    rig.own.objects.delete([rig.own.key(record.id)])
    with pytest.raises(PayloadDamaged):
        rig.other.open(record)
    rig.own.objects.delete(["database.json"])
    with pytest.raises(PayloadUnavailable):
        rig.other.open(record)


def test_a_sync_payload_is_put_by_whoever_makes_it_durable(rig: Rig) -> None:
    for contents in ([b"small"], CONTENTS):
        record = rig.stored(contents, durable=False)
        rig.own.make_durable(record)
        rig.own.make_durable(record)
        assert rig.read(rig.other, record, len(contents)) == contents
        assert rig.own.copies.has(record.id)


def test_a_sync_payload_is_made_durable_by_two_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signer asks the store whether it has the payload; before it opens the file, the worker has put it there."""
    record = rig.stored([b"small"], durable=False)
    ask = rig.own.objects.size

    def asked(key: str) -> int | None:
        size = ask(key)
        monkeypatch.undo()
        rig.own.make_durable(record)
        return size

    monkeypatch.setattr(rig.own.objects, "size", asked)
    rig.own.make_durable(record)
    assert rig.read(rig.other, record, 1) == [b"small"]


def test_the_bucket_is_given_a_rule_beside_those_that_it_has(tmp_path: Path) -> None:
    proxy = proxied("seaweedfs")
    requests = object_payloads(new_prefix(proxy), tmp_path / "copies").requests
    assert not requests.aborts_incomplete_uploads("no/such/prefix/")
    requests.set_abort_rule("some/prefix/")
    assert requests.aborts_incomplete_uploads("some/prefix/payloads/")
    assert not requests.aborts_incomplete_uploads("another/")
    assert not requests.keeps_versions()
