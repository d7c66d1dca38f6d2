"""What a row keeps of a payload, what a payload keeps beside the documents, and how several payloads are read as one."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from tests.conformance.stores import STORES, StoreUnderTest, documents, stored

from batchseal.document import Credential, Description, Prepared
from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.operation import ContentType
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.operation import OperationReader, record_bytes, records_of
from batchseal.signature import Level, SignatureOptions, SignaturePolicy, SignatureType
from batchseal.store.rows import PayloadColumns

DOCUMENT, PREPARED = FrameKind.DOCUMENT, FrameKind.PREPARED


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    return STORES[request.param](tmp_path)


# --- the record that the row keeps ------------------------------------------------------------------------------------


def columns(first: PayloadRecord, *further: PayloadRecord) -> PayloadColumns:
    return PayloadColumns(first.id, record_bytes(first), tuple(map(record_bytes, further)))


def test_a_record_finds_its_payload_again(store: StoreUnderTest) -> None:
    first, second = stored(store, documents(b"first")), stored(store, documents(b"second"))
    found = records_of(columns(first, second))
    assert found == [first, second]
    reader = store.payloads.open(found[1])
    assert reader.read(DOCUMENT, 0) == b"second"
    reader.close()


def test_a_record_of_a_later_release_is_read(store: StoreUnderTest) -> None:
    record = stored(store, documents(b"content"))
    fields = msgspec.msgpack.decode(record_bytes(record)) | {"version": 7, "index_offset": 12, "etag": "later"}
    (found,) = records_of(PayloadColumns(record.id, msgspec.msgpack.encode(fields), ()))
    assert (found.id, found.version) == (record.id, 7)
    store.payloads.open(found).close()


def test_a_record_of_an_earlier_release_has_defaults(store: StoreUnderTest) -> None:
    upload = store.payloads.create(uuid4())  # nobody said how small it would be
    upload.begin()
    upload.append(documents(b"content"))
    record = upload.commit(durable=True)
    upload.release()
    bare = msgspec.msgpack.encode({"id": record.id})
    for first in (b"", bare):  # release 0.1 kept none
        (found,) = records_of(PayloadColumns(record.id, first, ()))
        assert (found.id, found.stored_bytes, found.version) == (record.id, 0, 1)
        store.payloads.open(found).close()


CREDENTIAL = Credential("seal", (b"certificate", b"issuer"), "rsa", 256, "sha256", bytes(range(32)))
WANTED = Description("ref", "a.pdf", ContentType.PDF, "Approved", None, SignatureType.PADES, Level.T, visible=True)


def test_records_come_back_as_they_were(store: StoreUnderTest) -> None:
    prepared = Prepared(3, "pades", b"d" * 32, b"m" * 32, CREDENTIAL.fingerprint, Level.T, 9000, b"plan")
    frames = [
        records.prepared_frame(prepared),
        records.credential_frame(CREDENTIAL),
        records.asked_frame([(3, WANTED)]),
    ]
    reader = store.payloads.open(stored(store, frames))
    assert records.read_prepared(reader, 3) == prepared
    assert records.read_credential(reader, CREDENTIAL.fingerprint) == CREDENTIAL
    (asked,) = records.read_asked(reader).values()
    assert records.description(asked, "ref", "a.pdf") == WANTED
    reader.close()
    policy = SignaturePolicy("urn:policy", "sha1", bytes(20), "http://example.test/")
    options = SignatureOptions("ext:ExtensionContent", "XPATH", "EXCLUSIVE", True, policy, "supplier", True)
    chosen = replace(WANTED, signature_type=SignatureType.XADES, options=options)
    inexact = msgspec.structs.replace(prepared, is_exact=False)
    frames = [records.prepared_frame(inexact), frames[1], records.asked_frame([(3, chosen)])]
    reader = store.payloads.open(stored(store, frames))
    assert records.read_prepared(reader, 3) == inexact
    (asked,) = records.read_asked(reader).values()
    assert records.description(asked, "ref", "a.pdf") == chosen
    with pytest.raises(PayloadDamaged):
        records.read_credential(reader, bytes(32))
    reader.close()


def test_records_of_a_later_release_are_read(store: StoreUnderTest) -> None:
    kind, ordinal, content = records.prepared_frame(Prepared(0, "pades", b"d", b"m", b"f", Level.B, 1, b"plan"))
    fields = msgspec.msgpack.decode(content) | {"version": 9, "later": [1, 2]}
    reader = store.payloads.open(stored(store, [(kind, ordinal, msgspec.msgpack.encode(fields))]))
    assert records.read_prepared(reader, 0).plan == b"plan"
    reader.close()


def test_a_record_that_is_none_is_damage(store: StoreUnderTest) -> None:
    reader = store.payloads.open(stored(store, [(PREPARED, 0, b"\xc1"), (FrameKind.DESCRIPTIONS, 0, b"")]))
    with pytest.raises(PayloadDamaged):
        records.read_prepared(reader, 0)
    with pytest.raises(PayloadDamaged):
        records.read_asked(reader)
    reader.close()


# --- all payloads of an operation ---------------------------------------------------------------------------------------


def test_several_payloads_are_read_as_one(store: StoreUnderTest) -> None:
    first = stored(store, [*documents(b"a", b"b"), (PREPARED, 0, b"old 0"), (PREPARED, 1, b"old 1")])
    second = stored(store, [(PREPARED, 1, b"new 1")])
    third = stored(store, [(PREPARED, 2, b"new 2")])
    reader = OperationReader(store.payloads, records_of(columns(first, second, third)))
    assert reader.ordinals(DOCUMENT) == {0, 1}
    assert reader.ordinals(PREPARED) == {0, 1, 2}
    assert [reader.read(PREPARED, n) for n in range(3)] == [b"old 0", b"new 1", b"new 2"]
    assert reader.read(DOCUMENT, 1) == b"b"
    assert reader.has(PREPARED, 2)
    assert not reader.has(PREPARED, 3)
    with pytest.raises(PayloadDamaged):
        reader.read(PREPARED, 3)
    reader.close()
    reader.close()


def test_what_was_replaced_does_not_come_back_when_the_later_frame_is_damaged(store: StoreUnderTest) -> None:
    """The earlier frame belongs to another certificate. No document of it may be taken for prepared."""
    first = stored(store, [(PREPARED, n, b"old") for n in range(3)])
    second = stored(store, [(PREPARED, 1, b"new 1"), (PREPARED, 2, b"new 2")])
    store.damage(second.id, PREPARED, 1)
    reader = OperationReader(store.payloads, [first, second]).open()
    assert reader.ordinals(PREPARED) == {0, 2}
    with pytest.raises(PayloadDamaged):
        reader.read(PREPARED, 1)
    assert reader.read(PREPARED, 2) == b"new 2"
    reader.close()


def test_of_several_payloads_each_must_be_there(store: StoreUnderTest) -> None:
    first, second = [stored(store, documents(b"content")) for _ in range(2)]
    store.payloads.delete([second])
    with pytest.raises(PayloadDamaged):
        OperationReader(store.payloads, [first, second]).open()
    with store.unavailable(), pytest.raises(PayloadUnavailable):
        OperationReader(store.payloads, [first, second]).open()
