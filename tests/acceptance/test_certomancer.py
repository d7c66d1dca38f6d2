"""Levels LT and LTA with certificates of another authority: certomancer signs, stamps, and answers about its certificates.

Three kinds of processes on real sockets: our service, certomancer's signing and time stamping, and certomancer's OCSP responder
and lists, at the address that its certificates name. What comes out is judged by `tests/support/long_term.py`.
"""

import base64
import json
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from harness.service import RunningService
from harness.waiting import until
from harness.xml_invoices import xml_invoice
from tests.support.certomancer import process
from tests.support.long_term import cades_level, xades_level

from batchseal.commands.verify import check_file, load_roots

BASE = "/signstash/einvoice-integration-client-ws/api/v0"
SECRET = "a secret of the test alone"
# Client services by their names: credential, level, whether CAdES is detached.
CALLERS = {
    "rsa-lt": ("seal-rsa", "LT", False),
    "rsa-lta": ("seal-rsa", "LTA", True),
    "ec-lt": ("seal-ec", "LT", True),
    "ec-lta": ("seal-ec", "LTA", False),
    "revoked": ("seal-revoked", "LT", False),
    "listed": ("seal-listed", "LTA", False),
    "late": ("seal-late", "LT", False),
}
CONTENT = bytes(range(256)) * 40


@dataclass
class Together:
    service: RunningService
    peer: Path
    """The folder of certomancer."""

    @property
    def roots(self) -> list[bytes]:
        return load_roots([self.peer / "root.pem"])

    def send(self, caller: str, reference: str, *, sync: bool = True) -> Any:
        """Two XML documents and two files, as `caller`. Returns the reply."""
        asked = [("a.xml", "XAdES", xml_invoice(1)), ("b.xml", "XAdES", xml_invoice(2))]
        asked += [("a.bin", "CAdES", CONTENT), ("b.bin", "CAdES", CONTENT)]
        documents = [
            {
                "documentRequest": {
                    "externalReference": name,
                    "name": name,
                    "contentType": "text/xml" if kind == "XAdES" else "x/y",
                    "base64Content": base64.b64encode(content).decode(),
                },
                "signatureInfo": {"signatureType": kind},
            }
            for name, kind, content in asked
        ]
        body: dict[str, Any] = {"externalReference": reference, "description": "d", "documents": documents}
        path = f"{BASE}/document/sign/base64/" if sync else f"{BASE}/async/document/sign/base64/"
        reply = requests.post(self.service.url + path, json=body, auth=(caller, SECRET), timeout=120)
        assert reply.status_code in (200, 202), reply.text[:500]
        return reply.json()

    def detail(self, caller: str, operation: int) -> Any:
        path = f"{BASE}/operation/sign/detail/{operation}/contentInResponse/true"
        reply = requests.get(self.service.url + path, auth=(caller, SECRET), timeout=120)
        assert reply.status_code == 200, reply.text[:500]
        return reply.json()

    def status(self, caller: str, reference: str) -> str:
        path = f"{BASE}/async/operation/status/withExternalReference/{reference}"
        found = requests.get(self.service.url + path, auth=(caller, SECRET), timeout=120).json()
        return str(found[0]["status"])

    def sign_calls(self) -> float:
        text = requests.get(f"{self.service.url}/metrics", timeout=120).text
        (value,) = [
            line.split()[-1] for line in text.splitlines() if line.startswith("batchseal_upstream_sign_calls_total")
        ]
        return float(value)


@pytest.fixture(scope="module")
def together() -> Iterator[Together]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batchseal-peer-")))
        folder.chmod(0o711)
        signs = stack.enter_context(process(folder / "peer", "--status-elsewhere"))
        work = folder / "service" / "work"
        work.mkdir(parents=True)
        secrets = {name: {"secret": SECRET} for name in CALLERS}
        (work / "client-services-config.json").write_text(json.dumps(secrets))
        own = {
            name: {
                "credentialId": f"testing-ca/{credential}",
                "signature": {"level": level, "packaging": "detached" if detached else "attached"},
            }
            for name, (credential, level, detached) in CALLERS.items()
        }
        (work / "batchseal-services.json").write_text(json.dumps(own))
        root = folder / "peer" / "root.pem"
        flags = (
            f"--upstream-url={signs}",
            f"--timestamp-urls={(folder / 'peer' / 'services').read_text()}/tsa/tsa",
            f"--timestamp-roots={root}",
            f"--signer-roots={root}",
            "--revocation-private-hosts=127.0.0.1",
        )
        service = stack.enter_context(RunningService(*flags, folder=folder / "service"))
        yield Together(service, folder / "peer")


def judged(reply: Any, level: str, roots: list[bytes], *, detached: bool) -> None:
    """Every document must have reached its level, and hold all that a verifier needs later; `batchseal verify` must agree."""
    assert reply["status"] == "EXECUTED", reply
    assert len(reply["documentList"]) == 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "originals").mkdir()
        for document in reply["documentList"]:
            suffix = "" if document["name"].endswith(".xml") else ".p7s" if detached else ".p7m"
            path = folder / (document["name"] + suffix)
            path.write_bytes(base64.b64decode(document["signedContent"]))
            (folder / "originals" / document["name"]).write_bytes(CONTENT)
            verdict = check_file(path, roots, folder / "originals")
            assert (verdict.valid, verdict.level) == (True, level), verdict
    for document in reply["documentList"]:
        content = base64.b64decode(document["signedContent"])
        if document["name"].endswith(".xml"):
            assert xades_level(content) == level
        else:
            assert cades_level(content, CONTENT) == level
            assert (CONTENT in content) is not detached


def test_levels_with_another_authority(together: Together) -> None:
    """One after the other: what the service knows of certificates grows."""
    with process(together.peer, "--status") as address:
        for caller, (_, level, detached) in CALLERS.items():
            if caller in ("revoked", "listed", "late"):
                continue
            judged(together.send(caller, caller), level, together.roots, detached=detached)
        before = together.sign_calls()
        for caller, said in (("revoked", "OCSP responder"), ("listed", "says the CRL")):
            number = together.send(caller, caller, sync=False)["id"]
            until(lambda caller=caller: together.status(caller, caller) == "EXECUTION_FAILED")  # type: ignore[misc]
            for document in together.detail(caller, number)["documentList"]:
                assert document["signError"] == "INVALID_CERTIFICATE_SIGN_ERROR"
                assert said in document["causeMessage"]
        assert together.sign_calls() == before
        with urllib.request.urlopen(f"{address}/asked", timeout=120) as answer:
            asked = json.load(answer)
    # Three certificates with a responder, two whose issuer has a list, one with a list alone: each is asked about once.
    lists = {f"/testing-ca/crls/{issuer}/latest.crl": number for issuer, number in (("root", 2), ("interm", 1))}
    assert asked == {"/testing-ca/ocsp/interm": 3, **lists}
    # Nobody answers any more. What was said still counts, and nothing is signed with a certificate of which nothing was said.
    together.send("late", "late", sync=False)
    until(lambda: together.status("late", "late") == "EXECUTION_ERROR")
    assert together.sign_calls() == before
    judged(together.send("ec-lta", "again"), "LTA", together.roots, detached=False)
