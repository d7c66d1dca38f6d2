"""`batchseal compare` between real services: the same one, and others that differ in one thing."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.invoices import invoice
from harness.service import RunningService
from harness.xml_invoices import xml_invoice
from tests.support.altering_proxy import Alter, AlteringProxy

from batchseal.commands import compare
from batchseal.commands.comparison.properties import properties_of
from batchseal.commands.comparison.run import Slower, Times
from batchseal.commands.comparison.sides import Answer


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    with RunningService("--sandbox-credential=rsa2048") as service:
        yield service


@pytest.fixture(scope="module")
def other(service: RunningService) -> Iterator[RunningService]:
    """One with another key, and the same client service."""
    with RunningService(
        "--sandbox", "--sandbox-credential=p256", f"--client-services-file={service.services_file}"
    ) as other:
        yield other


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("documents")
    files = [folder / "fatura.pdf", folder / "recibo.pdf", folder / "fatura.xml", folder / "saft.txt"]
    for number, file in enumerate(files[:2]):
        file.write_bytes(invoice(number, size_bytes=10_000))
    files[2].write_bytes(xml_invoice(1))
    files[3].write_bytes(b"some lines\n" * 10)
    return files


class Compared:
    """What the command found: its exit code, and what differs by what it is."""

    def __init__(self, service: RunningService, folder: Path) -> None:
        self._flags = [f"--services-file={service.services_file}", "--yes", f"--json={folder / 'found.json'}"]
        # Only the test about times judges them: this machine may be busy.
        self._flags.append("--slower-seconds=60")
        self._found = folder / "found.json"

    def __call__(self, old: str, new: str, documents: list[Path], *flags: str) -> tuple[int, dict[str, Any]]:
        code = compare.run([f"--old={old}", f"--new={new}", *self._flags, *flags, *map(str, documents)])
        found = json.loads(self._found.read_text())
        self.compared = found["compared"]
        return code, {one["what"]: one for one in found["findings"] if one["counts"]}


@pytest.fixture
def compared(service: RunningService, tmp_path: Path) -> Compared:
    return Compared(service, tmp_path)


def test_a_service_does_not_differ_from_itself(
    service: RunningService, documents: list[Path], compared: Compared, tmp_path: Path
) -> None:
    code, found = compared(service.url, service.url, documents, "--also-async", f"--out={tmp_path / 'out'}")
    assert (code, found) == (0, {})
    assert compared.compared == 2 * len(documents)
    assert (tmp_path / "out" / "old" / "sync" / "fatura.pdf").read_bytes().startswith(documents[0].read_bytes())


def alter_value(reply: Any) -> None:
    reply["documentList"][0]["cipherStatus"] = "CIPHERED"


def alter_type(reply: Any) -> None:
    reply["documentList"][0]["contentLength"] = str(reply["documentList"][0]["contentLength"])


def take_away(reply: Any) -> None:
    del reply["documentList"][0]["externalReference"]


def add_the_word(reply: Any) -> None:
    reply["errors"] = 0


@pytest.mark.parametrize(
    ("alter", "what"),
    [
        (alter_value, "field documentList[0].cipherStatus"),
        (alter_type, "field documentList[0].contentLength"),
        (take_away, "field documentList[0].externalReference"),
        (add_the_word, 'the word "error" in lower case, at which a known client gives up'),
    ],
)
def test_an_altered_field_is_named(
    service: RunningService, documents: list[Path], compared: Compared, alter: Alter, what: str
) -> None:
    with AlteringProxy(service.port, alter) as altered:
        code, found = compared(service.url, altered.url, documents[:1])
    assert code == 1 and list(found) == [what]


def test_a_new_field_is_only_noted(service: RunningService, documents: list[Path], compared: Compared) -> None:
    with AlteringProxy(service.port, lambda reply: reply.update(novelty=1)) as altered:
        assert compared(service.url, altered.url, documents[:1]) == (0, {})
        assert [*compared(altered.url, service.url, documents[:1])[1]] == ["field novelty"]


def test_a_slower_service_is_named(service: RunningService, documents: list[Path], compared: Compared) -> None:
    with (
        AlteringProxy(service.port) as old,
        # However long the old one took on a busy machine, the new one takes much longer.
        AlteringProxy(service.port, delay_seconds=lambda: 2.0 + 2 * old.longest_seconds) as slow,
    ):
        code, found = compared(old.url, slow.url, documents[:1], "--slower-seconds=1", "--slower-factor=1.2")
    assert code == 1 and list(found) == ["time (median)"]
    assert found["time (median)"]["where"] == "synchronous request"


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [(1.0, 2.5, True), (1.0, 1.9, None), (0.1, 0.3, None), (2.5, 1.0, False), (1.0, 1.0, None)],
)
def test_a_service_that_became_faster_is_only_noted(old: float, new: float, counts: bool | None) -> None:
    times = Times()
    times.add("call", Answer(200, seconds=old), Answer(200, seconds=new))
    times.add("call that failed", Answer(0), Answer(200))
    assert [one.counts for one in times.findings(Slower())] == ([] if counts is None else [counts])


def test_another_algorithm_is_named(
    service: RunningService, other: RunningService, documents: list[Path], compared: Compared
) -> None:
    code, found = compared(service.url, other.url, documents)
    assert code == 1
    assert {"signature algorithm", "key"} <= set(found)
    assert (found["key"]["old"], found["key"]["new"]) == ("RSA 2048", "EC secp256r1")
    assert set(found) <= {"signature algorithm", "key", "signer", "field folder.folderId"}, found


def test_the_box_of_an_appearance_is_compared(
    service: RunningService, documents: list[Path], compared: Compared, tmp_path: Path
) -> None:
    info = {"visibleSignatureInfo": {"locationType": "COORDINATE", "locationValue": "page=1,x=140,y=35"}}
    file = tmp_path / "info.json"
    file.write_text(json.dumps(info))
    out = tmp_path / "out"
    assert compared(service.url, service.url, documents[:1], f"--signature-info={file}", f"--out={out}") == (0, {})
    _, signature = properties_of(out / "new" / "sync" / "fatura.pdf", documents[0].read_bytes())
    assert signature["appearance"].startswith("page 1, 140 35 ")
    assert signature["SubFilter"] == "/ETSI.CAdES.detached"


def test_nothing_is_sent_before_somebody_has_agreed(
    service: RunningService, documents: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        f"--old={service.url}",
        f"--new={service.url}",
        f"--services-file={service.services_file}",
        str(documents[0]),
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # which is no terminal
    assert compare.run([*flags, "--also-async"]) == 2
    said = capsys.readouterr()
    assert "It costs 2 signatures at each of the two, 4 in all" in said.out and "--yes" in said.err


def test_a_token_is_fetched_where_one_is_wanted(
    service: RunningService, documents: list[Path], compared: Compared
) -> None:
    token = f"{service.url}/oauth2/authorization-server/oauth/token"
    assert compared(service.url, service.url, documents[:1], f"--old-token-url={token}") == (0, {})


def test_a_service_that_is_away_is_no_silence(
    service: RunningService, documents: list[Path], compared: Compared
) -> None:
    code, found = compared(service.url, "http://127.0.0.1:9", documents[:1])
    assert code == 1 and "no answer" in found["HTTP status"]["new"]
