"""Records of prepared documents as this release stored them once: later releases package them to the same bytes.

A difference here means that operations which are under way during an upgrade come out changed, with broken signatures or with
other lengths than their rows say. Add records for new forms; never make the old ones anew.
"""

import hashlib
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.xml_documents import joined

from batchseal.document import Credential, Evidence, Prepared
from batchseal.formats.registry import Formats
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind

RECORDS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("signed_records.json").read_text())


class OneDocument:
    """As much of a PayloadReader as a record needs."""

    def __init__(self, record: dict[str, Any]) -> None:
        self._frames = {FrameKind.PREPARED: record["prepared"]}

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        return b64decode(self._frames[kind])


@pytest.mark.parametrize("name", RECORDS)
def test_a_stored_record_is_packaged_as_it_was(name: str) -> None:
    record = RECORDS[name]
    prepared: Prepared = records.read_prepared(OneDocument(record), 0)  # type: ignore[arg-type]
    credential = msgspec.msgpack.decode(b64decode(record["credential"]), type=Credential)
    evidence = Evidence(b64decode(record["signature"]), tuple(map(b64decode, record["time_stamps"])))
    used, original = Formats(has_time_stamps=True).named(prepared.format), b64decode(record["original"])
    document = used.package(original, prepared, evidence, credential)
    whole = joined(document)
    assert len(whole) == record["signed_bytes"]
    assert hashlib.sha256(whole).hexdigest() == record["signed_sha256"]
    assert used.added_bytes(prepared, evidence) == len(whole) - (0 if document.suffix == ".p7s" else len(original))
