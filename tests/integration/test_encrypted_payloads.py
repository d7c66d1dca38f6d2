"""The real service with `--payload-key-file`: nothing of a document on the disk, right results, and what a wrong file does."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from harness.invoices import invoice
from harness.service import RunningService
from tests.support.key_files import key_file, secret_of
from tests.support.service import FAST, batch, client_of, finished, payload_files, post

MARK = b"A NAME THAT NOBODY ELSE MAY READ"


def documents() -> list[bytes]:
    """A small one, one whose text is compressed, and one that is stored in blocks."""
    small = invoice(1, size_bytes=20_000)
    return [small + b"% " + MARK + b"\n", small + (b"% " + MARK + b"\n") * 2_000, small + b"% " + MARK * 40_000 + b"\n"]


def test_a_batch_is_signed_and_its_payload_says_nothing(tmp_path: Path) -> None:
    key_file(tmp_path / "payload.keys", "november")
    contents = documents()
    with RunningService(*FAST, "--payload-key-file", str(tmp_path / "payload.keys"), "--workers=1") as service:
        status, _, _ = post(service, batch("encrypted", contents))
        assert status == 200
        ended = finished(service, "encrypted")
        assert ended.status == "EXECUTED"
        on_disk = b"".join(path.read_bytes() for path in payload_files(service.folder))
        assert len(on_disk) > len(contents[2])
        assert MARK not in on_disk
        client = client_of(service)
        try:
            for ordinal, content in enumerate(contents):
                signed = io.BytesIO()
                client.fetch_document(ended.operation_id, ordinal, signed)
                assert signed.getvalue().startswith(content)
                assert len(signed.getvalue()) > len(content) + 1000
        finally:
            client.close()
        log = service.log.read_bytes()
    for form in (secret_of("november").hex().encode(), (tmp_path / "payload.keys").read_bytes().split()[-1]):
        assert form[:12] not in log


@pytest.mark.parametrize("text", ["", "november too-short\n"])
def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str) -> None:
    keys = tmp_path / "payload.keys"
    keys.write_text(text)
    command = [
        sys.executable,
        "-m",
        "batchseal.cli",
        "serve",
        "--payload-key-file",
        str(keys),
        "--temp-folder",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert "--payload-key-file" in done.stderr and "too-short" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["payload.keys"], "nothing was made"
