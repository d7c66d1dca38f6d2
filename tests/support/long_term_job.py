"""Documents that are signed at level LT, by a sandbox that goes on when the service is killed, and what must be true of them."""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asn1crypto import cms, pem
from harness.invoices import invoice
from harness.sandbox import Sandbox, running_sandbox
from harness.service import RunningService
from harness.xml_invoices import xml_invoice
from tests.support.files_first import files_first
from tests.support.long_term import cades_level, xades_level
from tests.support.pdf_levels import pdf_level

from batchseal.commands.verify import check_file, load_roots

LEVEL = "LT"


def contents(count: int, size_bytes: int = 8_000) -> list[bytes]:
    """Invoices in XML and in PDF, and binary files. No two are alike, so that each needs a signature of its own."""
    return [content(number, size_bytes) for number in range(count)]


def content(number: int, size_bytes: int) -> bytes:
    if number % 4 == 3:
        return bytes(range(256)) * (size_bytes >> 8) + b"%d" % number
    return (invoice if number % 2 else xml_invoice)(number, size_bytes=size_bytes)


def kind_of(content: bytes) -> tuple[str, str, str]:
    """The type of its signature, its media type and the suffix of its name."""
    if content.startswith(b"<"):
        return "XAdES", "text/xml", "xml"
    return ("PAdES", "application/pdf", "pdf") if content.startswith(b"%PDF") else ("CAdES", "x/y", "bin")


def entry(number: int, content: bytes) -> dict[str, Any]:
    """XAdES for XML, in the element that UBL has for it; PAdES for PDF; CAdES for any other file."""
    kind, media_type, suffix = kind_of(content)
    info: dict[str, Any] = {"signatureType": kind}
    if kind == "XAdES":
        info["advancedSignatureInfo"] = {"signatureLocation": "ext:ExtensionContent"}
    return {
        "documentRequest": {
            "externalReference": f"doc {number}",
            "name": f"doc-{number}.{suffix}",
            "contentType": media_type,
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": info,
    }


def request(reference: str, documents: Sequence[bytes]) -> dict[str, Any]:
    entries = [entry(number, content) for number, content in enumerate(documents)]
    return {"externalReference": reference, "description": "long term", "documents": entries}


def body(reference: str, documents: Sequence[bytes]) -> bytes:
    return json.dumps(request(reference, documents)).encode()


def parts(reference: str, documents: Sequence[bytes]) -> tuple[bytes, str]:
    """The same with the files before their description, so that reception cannot prepare them; and its media type."""
    return files_first(request(reference, documents), documents)


@dataclass(frozen=True, slots=True)
class Outside:
    """A sandbox outside of the service, which signs, stamps and answers about certificates."""

    sandbox: Sandbox

    def start(self, *flags: str, folder: Path) -> RunningService:
        """A service over `folder` whose every signature is of level LT."""
        services = folder / "work" / "client-services-config.json"
        if not services.exists():
            services.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.sandbox.services, services)
        return RunningService(
            *flags,
            f"--service-domain={self.sandbox.address}",
            f"--timestamp-urls={self.sandbox.address}/tsa",
            f"--timestamp-roots={self.sandbox.root}",
            f"--signer-roots={self.sandbox.root}",
            "--revocation-private-hosts=127.0.0.1",
            f"--signature-level={LEVEL}",
            folder=folder,
        )

    def judge(self, entries: Sequence[dict[str, Any]], originals: Sequence[bytes], verified: int) -> None:
        """Each original is whole, and what was added makes level LT; `batchseal verify` judges `verified` of them too."""
        assert len(entries) == len(originals), f"{len(entries)} of {len(originals)} documents"
        roots = load_roots([self.sandbox.root])
        with tempfile.TemporaryDirectory() as folder:
            for number, (one, original) in enumerate(zip(entries, originals, strict=True)):
                assert one["signStatus"] == "SIGNED", one
                said = {each["attributeKey"]: each["attributeValue"] for each in one["documentAttributes"]}
                assert said == {"signatureLevel": LEVEL}, said
                signed = base64.b64decode(one["signedContent"])
                judge_content(signed, original, pem.unarmor(self.sandbox.root.read_bytes())[2])
                if number < verified:
                    path = Path(folder, f"{number}.{kind_of(original)[2]}")
                    path.write_bytes(signed)
                    verdict = check_file(path, roots)
                    assert (verdict.valid, verdict.level) == (True, LEVEL), verdict


def judge_content(signed: bytes, original: bytes, root: bytes) -> None:
    """The original stands in it untouched, and the signature has all that its level needs. `root` is that of the sandbox (DER).

    PDF is judged by pyHanko, the others by the standards alone.
    """
    if original.startswith(b"%PDF"):
        assert signed.startswith(original)
        level = pdf_level(signed, root)
    elif original.startswith(b"<"):
        before = original.index(b"<ext:ExtensionContent/>") + len(b"<ext:ExtensionContent")
        assert signed.startswith(original[:before] + b">")
        assert signed.endswith(b"</ext:ExtensionContent>" + original[before + 2 :])
        level = xades_level(signed)
    else:
        assert cms.ContentInfo.load(signed)["content"]["encap_content_info"]["content"].native == original
        level = cades_level(signed, original)
    assert level == LEVEL, level


@contextmanager
def outside(folder: Path, *options: str) -> Iterator[Outside]:
    """`folder` is a new one, for the sandbox's keys; `options` are those of the sandbox.

    What it says goes into a file there: each caller that is killed costs it a few lines.
    """
    folder.mkdir()
    with (
        (folder / "sandbox.log").open("wb") as log,
        running_sandbox(folder, "--credential=p256", *options, log=log) as one,
    ):
        yield Outside(one)
