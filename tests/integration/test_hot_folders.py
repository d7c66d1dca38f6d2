"""Hot folders with the real service: files of each kind come out signed and judged, and what cannot be signed has a reason."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.hot_folders import CLIENT, FAST_FLAGS, Folders, below, configure, left_over, put
from harness.invoices import invoice
from harness.service import RunningService
from harness.xml_invoices import xml_invoice
from tests.support.service import FAST, client_of, get, until

from batchseal.commands.verify import check_file, load_roots

HOT = {
    "signatureInfo": {"reason": "Invoice", "location": "Oeiras"},
    "patterns": [
        {"path": "stamped/**", "signatureInfo": {"signatureLevel": "T"}},
        {"path": "detached/*", "signatureInfo": {"signatureType": "CAdES", "signaturePackaging": "DETACHED"}},
        {"path": "invoices only/*", "otherTypes": False},
        {
            "path": "seen/*",
            "signatureInfo": {
                "visibleSignatureInfo": {"locationType": "COORDINATE", "locationValue": "page=1,x=140,y=35"}
            },
        },
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hot")
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="module")
def folders(place: Path) -> Folders:
    return Folders.make(place / "files")


@pytest.fixture(scope="module")
def service(place: Path, folders: Folders) -> Iterator[RunningService]:
    configure(place / "work", folders, HOT)
    with RunningService(*FAST, *FAST_FLAGS, folder=place) as running:
        yield running


def come(folders: Folders, names: list[str]) -> dict[str, bytes]:
    """What is in the output folder once these files have come."""
    until(lambda: all((folders.output / name).exists() for name in names))
    return below(folders.output)


def valid(service: RunningService, folders: Folders, name: str, originals: Path | None = None) -> str:
    """The level of a signature that must hold."""
    verdict = check_file(folders.output / name, load_roots([service.root]), originals=originals)
    assert verdict.valid, f"{name}: {verdict.problem}"
    return str(verdict.level)


# Every character that Linux allows in a name, and some that other systems and databases do not.
NAMES = (
    "".join(map(chr, range(1, 47))).lstrip(".") + "x.pdf",
    "".join(map(chr, range(48, 128))) + ".pdf",
    "a" * 251 + ".pdf",
    "é" * 125 + ".pdf",
    os.fsdecode(bytes(range(128, 256))) + ".pdf",
    "-rf.pdf",
    "\N{RIGHT-TO-LEFT OVERRIDE}fdp.\N{GRINNING FACE}.pdf",
)


def test_files_of_each_kind_are_signed(service: RunningService, folders: Folders) -> None:
    files = {
        "fatura.pdf": invoice(0, size_bytes=20_000),
        "2026/11/fatura.pdf": invoice(1, size_bytes=20_000),
        "2026/nota.xml": xml_invoice(1),
        "letter.txt": b"Dear Sir or Madam",
        "large.pdf": invoice(2, size_bytes=3_000_000),
        "stamped/a/fatura.pdf": invoice(3, size_bytes=20_000),
        "detached/data.csv": b"1,2,3",
        "seen/fatura.pdf": invoice(4, size_bytes=20_000),
        **{f"names/{name}": invoice(5 + n, size_bytes=20_000) for n, name in enumerate(NAMES)},
    }
    for name, content in files.items():
        put(folders, name, content)
    suffixes = {"letter.txt": ".p7m", "detached/data.csv": ".p7s"}
    output = come(folders, [name + suffixes.get(name, "") for name in files])
    assert len(output) == len(files)
    until(lambda: left_over(folders) == [])
    assert below(folders.input) == {}
    assert below(folders.backup) == files
    for name, content in files.items():
        signed = name + suffixes.get(name, "")
        level = valid(service, folders, signed, folders.backup / "detached")
        assert level.endswith("T") == name.startswith("stamped/"), f"{signed}: {level}"
        if name.endswith(".pdf"):
            assert output[signed].startswith(content)
            assert b"/Reason" in output[signed] or not name.startswith("fatura")
        assert (folders.output / signed).stat().st_mode & 0o777 == 0o664
    assert output["letter.txt.p7m"].count(b"Dear Sir or Madam") == 1
    assert b"/Subtype /Form" in output["seen/fatura.pdf"] or b"/Subtype/Form" in output["seen/fatura.pdf"]


def test_what_cannot_be_signed_has_a_reason(service: RunningService, folders: Folders) -> None:
    files = {
        "broken.pdf": b"%PDF-1.4\n" + b"x" * 500 + b"\nstartxref\n7\n%%EOF\n",
        "half.pdf": invoice(0, size_bytes=20_000)[:9_000],
        "half.xml": xml_invoice(1)[:9_000],
        "broken.xml": b"<a><b></a>",
        "none.pdf": b"no PDF at all",
        "invoices only/letter.txt": b"Dear Sir",
    }
    for name, content in files.items():
        put(folders, name, content)
    output = come(folders, [f"{name}.txt" for name in files])
    until(lambda: left_over(folders) == [])
    backup = below(folders.backup)
    for name, content in files.items():
        text = output[f"{name}.txt"].decode()
        assert text.startswith(f"{name} was not signed."), text
        assert f"Client service: {CLIENT}" in text
        assert name not in output and f"{name}.p7m" not in output
        assert (backup[name], backup[f"{name}.txt"].decode()) == (content, text)
    assert "otherTypes" in output["invoices only/letter.txt.txt"].decode()
    assert below(folders.input) == {}


def test_a_second_file_of_the_same_name_gets_the_id_of_its_operation(service: RunningService, folders: Folders) -> None:
    put(folders, "same.pdf", invoice(20, size_bytes=9_000))
    come(folders, ["same.pdf"])
    first = (folders.output / "same.pdf").read_bytes()
    until(lambda: left_over(folders) == [])
    put(folders, "same.pdf", invoice(21, size_bytes=9_000))
    until(lambda: len(list(folders.output.glob("same*"))) == 2)
    (second,) = (path for path in folders.output.glob("same*") if path.name != "same.pdf")
    operation = int(second.name.removeprefix("same (").removesuffix(").pdf"))
    assert (folders.output / "same.pdf").read_bytes() == first
    until(lambda: len(list(folders.backup.glob("same*"))) == 2)
    client = client_of(service)
    try:
        status, _, body = get(service, f"/signstash/einvoice-integration-client-ws/api/v0/operation/status/{operation}")
        assert status == 200
        entry = json.loads(body)
        assert (entry["mode"], entry["externalReference"][:11]) == ("HOT_FOLDER", "hot-folder-")
    finally:
        client.close()


def test_links_and_temporary_files_are_left_alone(service: RunningService, folders: Folders, place: Path) -> None:
    secret = place / "secret.pdf"
    secret.write_bytes(invoice(30, size_bytes=9_000))
    (folders.input / "link.pdf").symlink_to(secret)
    (folders.input / "links").symlink_to(place)
    (folders.input / "empty.pdf").touch()
    (folders.input / "x.tmp").write_text("x")
    put(folders, "after.pdf", invoice(31, size_bytes=9_000))
    come(folders, ["after.pdf"])
    left = {"link.pdf", "links", "empty.pdf", "x.tmp"}
    assert {path.name for path in folders.input.iterdir()} >= left
    assert not any((folders.output / name).exists() for name in left)
    for name in left:
        (folders.input / name).unlink()


def test_files_wait_for_an_output_folder_that_is_away(service: RunningService, folders: Folders) -> None:
    away = folders.output.with_name("away")
    folders.output.rename(away)
    put(folders, "waits.pdf", invoice(40, size_bytes=9_000))
    until(lambda: b"files wait in a hot folder" in service.log.read_bytes())
    put(folders, "waits too.pdf", invoice(41, size_bytes=9_000))
    status, _, body = get(service, "/metrics")
    assert status == 200
    assert b"batchseal_hotfolder_folders 1.0" in body or b"batchseal_hotfolder_folders 1" in body
    away.rename(folders.output)
    come(folders, ["waits.pdf", "waits too.pdf"])
    until(lambda: left_over(folders) == [])
    numbers = dict(
        line.split() for line in get(service, "/metrics")[2].decode().splitlines() if line.startswith("batchseal_hot")
    )
    assert float(numbers["batchseal_hotfolder_files_signed_total"]) > 10
    assert float(numbers["batchseal_hotfolder_files_failed_total"]) >= 6


def test_the_file_of_client_services_is_followed(service: RunningService, folders: Folders, place: Path) -> None:
    work, moved = place / "work", Folders.make(place / "moved")
    configure(work, Folders(folders.input, folders.backup, folders.input / "2026"), HOT)
    until(lambda: b"outputFolder" in service.log.read_bytes() and b"overlap" in service.log.read_bytes())
    put(folders, "not yet.pdf", invoice(50, size_bytes=9_000))
    configure(work, moved, HOT)
    put(moved, "moved.pdf", invoice(51, size_bytes=9_000))
    come(moved, ["moved.pdf"])
    assert (folders.input / "not yet.pdf").exists()
    configure(work, folders, HOT)
    come(folders, ["not yet.pdf"])


def serve(place: Path, *flags: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "batchseal.cli", "serve", f"--work-folder={place / 'work'}"]
    command += [f"--temp-folder={place / 'temp'}", "--port=1", "--hot.folder.enabled=true", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stderr


def test_a_start_with_folders_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    folders = Folders.make(tmp_path / "files")
    folders.output.rmdir()
    configure(tmp_path / "work", folders)
    code, said = serve(tmp_path, "--sandbox")
    assert code == 2 and f"mkdir -p {folders.output} && chown" in said
    assert not (tmp_path / "temp").exists(), "a start that is refused leaves nothing behind"
    configure(tmp_path / "work", Folders(folders.input, folders.backup, folders.input))
    code, said = serve(tmp_path, "--sandbox")
    assert code == 2 and "overlap" in said


def test_the_sandbox_signs_no_hot_folder_unasked(tmp_path: Path) -> None:
    work, folders = tmp_path / "work", Folders.make(tmp_path / "files")
    work.mkdir()
    entry: dict[str, Any] = {"sandbox-client": {"secret": "s" * 20, **folders.entry()}}
    (work / "client-services-config.json").write_text(json.dumps(entry))
    code, said = serve(tmp_path)
    assert code == 2 and "--sandbox" in said


def test_check_says_what_is_wrong_with_the_folders(tmp_path: Path) -> None:
    folders = Folders.make(tmp_path / "files")
    configure(tmp_path / "work", folders)
    command = [sys.executable, "-c", CHECK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.strip() == f"{CLIENT}: {folders.input}, {folders.backup}, {folders.output}"
    folders.backup.rmdir()
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert "client service erp: backupFolder" in done.stderr and "chown" in done.stderr


CHECK = """
import asyncio, sys
from pathlib import Path
from batchseal.commands.check import check_folders
from batchseal.settings.load import Settings
place = Path(sys.argv[1])
print(asyncio.run(check_folders(Settings(work_folder=place / "work", temp_folder=place / "temp", sandbox=True))))
"""
