"""Signatures in XML and CMS through the whole service: from the command line and back, and as HTTP clients see them."""

import base64
import io
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
from harness.validators import judging
from harness.validators.samples import document, with_table
from harness.validators.xml import certificate_file, only_signature_added, taken_by_xmlsec1
from harness.xml_invoices import write_xml_invoices, xml_invoice
from tests.acceptance.conftest import Running
from tests.support.pictures import picture_bytes
from tests.support.rendering import text_of

from batchseal.client.batch import BatchBody, Wishes, find_documents
from batchseal.client.seal import seal_batch
from batchseal.commands import sign, verify


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with XML and other files."""
    folder = tmp_path_factory.mktemp("documents")
    assert len(list(write_xml_invoices(folder, 10))) == 10
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5_000))
    (folder / "without a type").write_bytes(b"\x00\x01\x02")
    return folder


def command(running: Running, *arguments: str | Path) -> int:
    service = running.service
    options = [f"--url={service.url}", f"--services-file={service.services_file}", *map(str, arguments)]
    return sign.run(options)


def checked(running: Running, *arguments: str | Path) -> int:
    return verify.run([f"--root={running.service.root}", *map(str, arguments)])


@pytest.mark.parametrize("level", ["B", "T"])
def test_xml_from_the_command_line(
    running: Running, documents: Path, tmp_path: Path, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--signature-type=XAdES", f"--level={level}", "--transform=XPATH", "--location-xpath=ext:ExtensionContent"]
    assert command(running, documents, f"--out={tmp_path}", *asked) == 0
    assert len(list(tmp_path.glob("*.xml"))) == 10
    assert b"<ext:ExtensionContent><ds:Signature" in (tmp_path / "invoice-00001.xml").read_bytes()
    capsys.readouterr()
    assert checked(running, tmp_path) == 0
    shown = capsys.readouterr().out
    assert "10 of 10 valid" in shown
    assert shown.count(f"│ {level} ") == 10


def test_a_batch_of_invoices_in_xml(running: Running, tmp_path: Path) -> None:
    """Many in one asynchronous request: every one is executed, and every one is taken by xmlsec1, with nothing else changed."""
    paths = list(write_xml_invoices(tmp_path / "in", 100))
    wishes = Wishes(location="Oeiras", parent="ext:ExtensionContent")
    client = running.client()
    body = BatchBody(find_documents(paths), "many in XML", "A batch", wishes)
    result = seal_batch(client, body, tmp_path / "out", lambda *_: None)
    client.close()
    assert (result.status, result.refused) == ("EXECUTED", [])
    assert [signed.name for signed in result.signed] == [path.name for path in paths]
    for original, signed in zip(paths, result.signed, strict=True):
        assert only_signature_added(original.read_bytes(), signed.read_bytes()), signed.name
    with judging():
        assert taken_by_xmlsec1(result.signed, certificate_file(result.signed[0], tmp_path)) == len(paths)


@pytest.mark.parametrize("packaging", ["attached", "detached"])
def test_other_files_from_the_command_line(
    running: Running, documents: Path, tmp_path: Path, packaging: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--signature-type=CAdES", f"--{packaging}", "--level=T"]
    assert command(running, documents, f"--out={tmp_path}", *asked) == 0
    suffix = {"attached": ".p7m", "detached": ".p7s"}[packaging]
    originals = sorted(path.name for path in documents.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == [name + suffix for name in originals]
    capsys.readouterr()
    assert checked(running, tmp_path, f"--originals={documents}") == 0
    assert f"{len(originals)} of {len(originals)} valid" in capsys.readouterr().out


def test_visible_signatures_and_records_from_the_command_line(
    running: Running, documents: Path, invoices: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files of all types in one command: what is seen is on the PDF alone, and each has its record."""
    (logo := tmp_path / "logo.png").write_bytes(picture_bytes("PNG", "RGBA", (40, 20)))
    files, out = [invoices[0], documents / "invoice-00001.xml", documents / "picture.png"], tmp_path / "out"
    look = [
        "--visible-text=Selado por ${certificate.commonName}",
        f"--visible-image={logo}",
        "--visible-area=width=200,height=40",
    ]
    assert command(running, *files, f"--out={out}", "--visible-at=page=1,x=30,y=40", *look, "--evidence-record") == 0
    names = ["invoice-00001.pdf", "invoice-00001.xml", "picture.png.p7m"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, *(f"{name}.ers" for name in names)])
    assert "Selado por" in text_of((out / names[0]).read_bytes(), tmp_path)
    capsys.readouterr()
    assert checked(running, out) == 0
    shown = capsys.readouterr().out
    assert "6 of 6 valid" in shown
    (out / names[1]).write_bytes((out / names[1]).read_bytes() + b"\n")
    assert checked(running, out / f"{names[1]}.ers") == 1


@pytest.mark.parametrize("level", ["B", "LTA"])
def test_pdfs_with_other_bytes_before_them_small_and_streamed(
    running: Running, tmp_path: Path, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bytes are in no result, no digest and no length, whether the document is in memory as a whole or read in pieces."""
    large = random.Random(level).randbytes(5_000_000)
    extra = {7: b"<</Length %d>>\nstream\n%s\nendstream" % (len(large), large)}
    files, out = [tmp_path / "small.pdf", tmp_path / "large.pdf"], tmp_path / "out"
    for path, rest in zip(files, (document(), document(extra=extra)), strict=True):
        path.write_bytes(b"\x1b%-12345X@PJL JOB\r\n" + with_table(rest))
    asked = [f"--out={out}", f"--level={level}", "--evidence-record", "--visible-at=page=1,x=30,y=40"]
    assert command(running, *files, *asked) == 0
    assert all(path.read_bytes().startswith(b"%PDF-") for path in out.glob("*.pdf"))
    capsys.readouterr()
    assert checked(running, out) == 0
    shown = capsys.readouterr().out
    assert "4 of 4 valid" in shown
    assert shown.count(f"│ {level} ") == 2


def test_without_a_type_the_name_of_each_file_decides(
    running: Running, documents: Path, invoices: list[Path], tmp_path: Path
) -> None:
    files = [invoices[0], documents / "invoice-00001.xml", documents / "picture.png"]
    assert command(running, *files, f"--out={tmp_path}") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "invoice-00001.pdf",
        "invoice-00001.xml",
        "picture.png.p7m",
    ]
    assert checked(running, tmp_path) == 0


def test_what_http_clients_see(running: Running) -> None:
    """Names, media types and lengths, in JSON, in the zip file and alone."""
    xml, other = xml_invoice(1), b"any content"

    def entry(name: str, kind: str, content: bytes, media_type: str, **info: Any) -> dict[str, Any]:
        text = base64.b64encode(content).decode()
        request = {"externalReference": "d", "name": name, "contentType": media_type, "base64Content": text}
        return {"documentRequest": request, "signatureInfo": {"signatureType": kind, **info}}

    documents = [
        entry("a.xml", "XAdES", xml, "application/xml", applyTimestamp=True),
        entry("b.json", "CAdES", other, "application/json"),
        entry("c.txt", "CAdES", other, "Text/Plain; charset=utf-8", signaturePackaging="DETACHED"),
    ]
    url, auth = running.service.url + running.base, (running.client_id, running.secret)
    body: dict[str, Any] = {"externalReference": "seen by clients", "description": "x", "documents": documents}
    reply = requests.post(f"{url}/document/sign/base64/", json=body, auth=auth, timeout=120)
    assert reply.status_code == 200, reply.text[:500]
    assert "error" not in reply.text
    operation = reply.json()
    assert operation["status"] == "EXECUTED"
    listed = operation["documentList"]
    assert [(d["name"], d["contentType"]) for d in listed] == [
        ("a.xml", "application/xml"),
        ("b.json", "application/json"),
        ("c.txt", "text/plain"),
    ]
    levels = [{a["attributeKey"]: a["attributeValue"] for a in d["documentAttributes"]} for d in listed]
    assert levels == [{"signatureLevel": "T"}, {"signatureLevel": "B"}, {"signatureLevel": "B"}]
    contents = [base64.b64decode(d["signedContent"]) for d in listed]
    lengths = [d["contentLength"] + d["additionalContentLength"] for d in listed]
    assert [d["contentLength"] for d in listed] == [len(xml), len(other), len(other)]
    assert lengths[:2] == [len(content) for content in contents[:2]]
    assert listed[2]["additionalContentLength"] == len(contents[2])
    without = f"{url}/operation/sign/detail/{operation['id']}/contentInResponse/false"
    again = requests.get(without, auth=auth, timeout=120).json()["documentList"]
    assert again == [{key: value for key, value in d.items() if key != "signedContent"} for d in listed]
    detail = f"{url}/operation/sign/detail/{operation['id']}/documents"
    with zipfile.ZipFile(io.BytesIO(requests.get(detail, auth=auth, timeout=120).content)) as archive:
        assert archive.namelist() == ["d.a.xml", "d.b.json.p7m", "d.c.txt.p7s"]
        assert [archive.read(name) for name in archive.namelist()] == contents
    types = ("application/xml", "application/pkcs7-mime", "application/pkcs7-signature")
    names = ("a.xml", "b.json.p7m", "c.txt.p7s")
    for ordinal, (media_type, name) in enumerate(zip(types, names, strict=True)):
        alone = requests.get(f"{detail}/{ordinal}", auth=auth, timeout=120)
        assert alone.content == contents[ordinal]
        assert alone.headers["content-type"] == media_type
        assert alone.headers["content-disposition"].endswith(f"''{name}")
