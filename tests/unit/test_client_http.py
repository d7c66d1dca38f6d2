"""The client over real sockets: batches signed by a small service, and what the client does when the service misbehaves."""

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit import service_double as double

from batchseal import cli
from batchseal.client.batch import BatchBody, find_documents
from batchseal.client.http import Client
from batchseal.client.seal import BatchResult, seal_batch
from batchseal.errors import ConfigurationError, LocalFileError, RequestFailed

PAUSES = (0.0, 0.01, 0.01)


@pytest.fixture
def service() -> Iterator[Any]:
    running = double.ServiceDouble()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def body(tmp_path: Path) -> BatchBody:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.pdf").write_bytes(os.urandom(1000))
    return BatchBody(find_documents([folder]), "FT 2026/5 ç:", "d")


def run(service: Any, body: BatchBody, out: Path) -> tuple[BatchResult, dict[str, tuple[int, int]]]:
    last: dict[str, tuple[int, int]] = {}
    client = Client(service.url, "id", "sécret", pauses_seconds=PAUSES)

    def report(step: str, done: int, total: int) -> None:
        last[step] = (done, total)

    try:
        result = seal_batch(client, body, out, report, poll_seconds=0.01)
    finally:
        client.close()
    return result, last


def test_a_batch_comes_back_signed(service: Any, body: BatchBody, tmp_path: Path) -> None:
    result, last = run(service, body, tmp_path / "out")
    assert [path.name for path in result.signed] == ["a.pdf", "b.pdf", "c.pdf"]
    for document, path in zip(body.documents, result.signed, strict=True):
        assert path.read_bytes() == document.path.read_bytes() + double.MARK
    assert not result.refused
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.pdf", "b.pdf", "c.pdf"]
    assert last == {
        "upload": (body.total_bytes,) * 2,
        "sign": (3, 3),
        "download": (sum(p.stat().st_size for p in result.signed),) * 2,
    }
    method, path, headers = service.seen[0]
    assert (method, path) == ("POST", double.BASE + "async/document/sign/base64/")
    assert base64.b64decode(headers["Authorization"].split()[1]).decode() == "id:sécret"
    assert int(headers["Content-Length"]) == service.body_bytes
    assert "withExternalReference/FT%202026%2F5%20%C3%A7%3A" in service.seen[1][1]


def test_refused_and_damaged_documents_are_named(service: Any, body: BatchBody, tmp_path: Path) -> None:
    service.refuse, service.damaged = {"b.pdf"}, {"c.pdf"}
    result, _ = run(service, body, tmp_path / "out")
    assert [path.name for path in result.signed] == ["a.pdf"]
    reasons = {r.document.name: (r.sign_error, r.cause) for r in result.refused}
    assert reasons["b.pdf"] == ("CONFIGURATION_SIGN_ERROR", "no")
    assert reasons["c.pdf"][0] == "STORAGE_SERVICE_GLOBAL_ERROR"
    assert "damaged" in reasons["c.pdf"][1]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.pdf"]


@pytest.mark.parametrize(
    "replies", [[503], [429, 503], [0], [-1], [-2, 0, 0], [-2, 503], [-2, -2, -2, 0], [-2, -2, -2, -2, 502]]
)
def test_a_service_that_is_away_for_a_moment_is_asked_again(
    service: Any, body: BatchBody, tmp_path: Path, replies: list[int]
) -> None:
    service.replies = replies
    result, _ = run(service, body, tmp_path / "out")
    assert len(result.signed) == 3
    assert len(service.operations) == 1


def test_a_document_that_was_cut_off_is_fetched_again(service: Any, body: BatchBody, tmp_path: Path) -> None:
    run(service, body, tmp_path / "out")
    client, target = Client(service.url, "id", "s", pauses_seconds=PAUSES), io.BytesIO()
    service.cut_short = 1
    client.fetch_document(7, 0, target)
    assert target.getvalue() == body.documents[0].path.read_bytes() + double.MARK
    service.cut_short = len(PAUSES)
    with pytest.raises(RequestFailed, match="more expected"):
        client.fetch_document(7, 0, target)
    client.close()


def test_a_full_disk_ends_the_download_at_once(service: Any, body: BatchBody, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".b.pdf.part").symlink_to("/dev/full")
    with pytest.raises(LocalFileError, match=r"b\.pdf cannot be written: No space left"):
        run(service, body, out)
    assert [path.rpartition("/")[2] for _, path, _ in service.seen].count("documents") == 1
    assert [path.name for path in out.iterdir()] == ["a.pdf"]


def test_a_file_that_cannot_be_read_ends_the_upload_at_once(service: Any, body: BatchBody, tmp_path: Path) -> None:
    body.documents[1].path.unlink()
    with pytest.raises(LocalFileError, match=r"b\.pdf cannot be read: No such file"):
        run(service, body, tmp_path / "out")
    assert len(service.seen) <= 1


@pytest.mark.parametrize("replies", [[], [503], [503, 429]], ids=["at once", "after a refusal", "after two refusals"])
def test_a_reference_that_somebody_took_is_an_error(
    service: Any, body: BatchBody, tmp_path: Path, replies: list[int]
) -> None:
    """Also where the first attempt was refused for another reason: the results would be those of another batch."""
    run(service, body, tmp_path / "out")
    service.replies = replies
    with pytest.raises(RequestFailed, match="is taken") as caught:
        run(service, body, tmp_path / "again")
    assert (caught.value.status, caught.value.code) == (409, "0.0.7")


def test_a_refusal_arrives_before_the_body_is_sent(service: Any, tmp_path: Path) -> None:
    (tmp_path / "large.pdf").write_bytes(bytes(80 << 20))
    sent: list[int] = []
    client = Client(service.url, "id", "s")
    service.replies = [401]
    with pytest.raises(RequestFailed, match="401: told to"):
        client.register(BatchBody(find_documents([tmp_path]), "r", "d"), sent.append)
    assert sum(sent) < 40 << 20


def test_nobody_there(body: BatchBody, tmp_path: Path) -> None:
    client = Client("http://127.0.0.1:9", "i", "s", pauses_seconds=PAUSES)
    with pytest.raises(RequestFailed, match="connection"):
        seal_batch(client, body, tmp_path, lambda step, done, total: None)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--url"):
        Client(url, "i", "s")


def test_originals_are_never_replaced(service: Any, body: BatchBody) -> None:
    with pytest.raises(ConfigurationError, match="--out"):
        run(service, body, body.documents[0].path.parent)
    assert not service.seen


def sign(service: Any, *arguments: str) -> int:
    return cli.main(["sign", "--url", service.url, *arguments])


def test_the_command_signs_and_tells(
    service: Any, body: BatchBody, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = str(body.documents[0].path.parent), str(tmp_path / "out")
    (tmp_path / "secret").write_text("xyz\n")
    service.refuse = {"b.pdf"}
    flags = ("--client-id", "id", "--secret-file", str(tmp_path / "secret"), "--out", out)
    assert sign(service, folder, *flags) == 1
    said = capsys.readouterr().out
    assert f"refused  {folder}/b.pdf: no (CONFIGURATION_SIGN_ERROR)" in said
    assert "2 signed, 1 refused" in said
    assert base64.b64decode(service.seen[0][2]["Authorization"].split()[1]) == b"id:xyz"
    service.refuse = set()
    assert sign(service, folder, *flags) == 0


@pytest.mark.parametrize("headers", [{}, {"Batchseal-Sandbox": "true"}])
def test_the_command_warns_of_a_sandbox(
    headers: dict[str, str],
    service: Any,
    body: BatchBody,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCHSEAL_SECRET", "s")
    service.headers = headers
    assert sign(service, str(body.documents[0].path.parent), "--client-id", "i", "--out", str(tmp_path / "out")) == 0
    assert ("these signatures are for tests only" in capsys.readouterr().err) == bool(headers)


def test_the_command_takes_the_secret_of_the_service(
    service: Any, body: BatchBody, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BATCHSEAL_SECRET", raising=False)
    services = tmp_path / "services.json"
    services.write_text('{"one": {"secret": "1"}, "two": {"secret": "2"}}')
    folder, flags = (
        str(body.documents[0].path.parent),
        ("--services-file", str(services), "--out", str(tmp_path / "out")),
    )
    assert sign(service, folder, *flags) == 0
    assert base64.b64decode(service.seen[0][2]["Authorization"].split()[1]) == b"one:1"
    assert sign(service, folder, "--client-id", "three", *flags) == 2
    assert "no secret of three" in capsys.readouterr().err
    monkeypatch.setenv("BATCHSEAL_SECRET", "env")
    assert sign(service, folder, "--client-id", "three", *flags) == 0
    assert base64.b64decode(service.seen[-1][2]["Authorization"].split()[1]) == b"three:env"


def test_the_command_ends_with_1_where_the_service_refuses(
    service: Any, body: BatchBody, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHSEAL_SECRET", "s")
    service.replies = [401]
    assert sign(service, str(body.documents[0].path.parent), "--client-id", "i", "--out", str(tmp_path / "out")) == 1
    assert "the service answered 401: told to" in capsys.readouterr().err
