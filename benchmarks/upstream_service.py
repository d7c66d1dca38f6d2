"""The upstream's figures that need a whole service: coalescing, certomancer beside pyHanko, time stamps, a token."""

import base64
import http.client
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.pyhanko_csc import pyhanko_rate
from harness.invoices import invoice, write_invoices
from harness.local_keys import PIN, make_token
from harness.service import RunningService, descendants
from harness.stored import signatures_by_operation
from harness.tools import PDFSIG, missing
from harness.validators import pdfsig_verify

from batchseal.client.batch import BatchBody, find_documents
from batchseal.client.http import BASE_PATH, Client
from batchseal.commands.verify import check_files, load_roots
from batchseal.settings.client_services import ClientServices

Figures = dict[str, float]


def client_of(service: RunningService) -> Client:
    services = ClientServices.load(service.services_file)
    return Client(service.url, services.ids()[0], next(iter(services)).secret)


def number_of(service: RunningService, name: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


def sync_body(reference: str, contents: list[bytes], **info: Any) -> bytes:
    documents = [
        {
            "documentRequest": {
                "externalReference": f"{reference} {n}",
                "name": f"{n}.pdf",
                "contentType": "application/pdf",
                "base64Content": base64.b64encode(content).decode(),
            },
            "signatureInfo": {"signatureType": "PAdES", **info},
        }
        for n, content in enumerate(contents)
    ]
    return json.dumps({"externalReference": reference, "description": "d", "documents": documents}).encode()


def sign_sync(service: RunningService, authorization: str, body: bytes) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=100)
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    connection.request("POST", f"{BASE_PATH}/api/v0/document/sign/base64/", body, headers)
    reply = connection.getresponse()
    answer = json.loads(reply.read())
    connection.close()
    assert answer.get("status") == "EXECUTED", answer
    return answer


def basic(service: RunningService) -> str:
    entry = next(iter(ClientServices.load(service.services_file)))
    return "Basic " + base64.b64encode(f"{entry.id}:{entry.secret}".encode()).decode()


def taken_by_pdfsig(name: str, paths: list[Path], root_pem: bytes) -> Figures:
    """How many files pdfsig takes, under that name; nothing where it is not installed."""
    if missing(PDFSIG):
        return {}
    verdicts = pdfsig_verify(paths, root_pem).values()
    return {name: sum(bool(found) and all(one.valid for one in found) for found in verdicts)}


def coalescing(rounds: int = 5) -> Figures:
    """Fifty requests of one document sent at once, against one request of fifty, at 200 ms a call."""
    contents = [invoice(n, size_bytes=50_000) for n in range(50)]
    one, many, calls = [], [], []
    flags = ("--sandbox-latency=200", "--sandbox-credential=p256")
    with RunningService(*flags) as service, ThreadPoolExecutor(50) as threads:
        authorization = basic(service)
        sign_sync(service, authorization, sync_body("warm", contents[:1]))
        for number in range(rounds):
            body = sync_body(f"one {number}", contents)
            began = time.perf_counter()
            sign_sync(service, authorization, body)
            one.append(time.perf_counter() - began)
            bodies = [sync_body(f"many {number} {n}", [content]) for n, content in enumerate(contents)]
            before = number_of(service, "batchseal_upstream_sign_calls_total")
            began = time.perf_counter()
            list(threads.map(lambda body: sign_sync(service, authorization, body), bodies))
            many.append(time.perf_counter() - began)
            calls.append(number_of(service, "batchseal_upstream_sign_calls_total") - before)
    return {
        "one_of_50_seconds": statistics.median(one),
        "fifty_of_1_seconds": statistics.median(many),
        "fifty_of_1_ratio": statistics.median(many) / statistics.median(one),
        "fifty_of_1_most_calls": max(calls),
    }


def seal(service: RunningService, folder: Path, out: Path) -> tuple[list[Path], float]:
    """The signed files and the seconds from the first byte sent to EXECUTED."""
    client, documents = client_of(service), find_documents([folder])
    reference = f"bench {random.random()}"
    began = time.perf_counter()
    client.register(BatchBody(documents, reference, "Bench"))
    while not (status := client.status(reference, wait_seconds=5)).finished:
        pass
    seconds = time.perf_counter() - began
    assert status.status == "EXECUTED", status
    out.mkdir()
    archive = out.with_suffix(".zip")
    client.fetch_archive(status.operation_id, lambda reply: archive.write_bytes(reply.read()))
    client.close()
    with zipfile.ZipFile(archive) as file:
        file.extractall(out)
    paths = sorted(out.iterdir())
    assert len(paths) == len(documents)
    return paths, seconds


def certomancer(documents: int) -> Figures:
    """An independent CSC server: our service and pyHanko's CSC client, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "in").mkdir()
        written = len(list(write_invoices(folder / "in", documents)))
        peer = [sys.executable, "-m", "harness.certomancer_peer", str(folder / "peer")]
        process = subprocess.Popen(peer, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            work = folder / "service" / "work"
            work.mkdir(parents=True)
            entry = {"secret": "s", "credentialId": "testing-ca/seal-rsa"}
            (work / "client-services-config.json").write_text(json.dumps({"A": entry}))
            with RunningService(f"--upstream-url={address}", folder=folder / "service") as service:
                paths, seconds = seal(service, folder / "in", folder / "out")
            theirs = pyhanko_rate(address, "testing-ca/seal-rsa", sorted((folder / "in").iterdir())[:100])
        finally:
            process.terminate()
            process.wait(10)
        root = folder / "peer" / "root.pem"
        pyhanko = sum(verdict.valid for verdict in check_files(paths, load_roots([root]), 2))
        pdfsig = taken_by_pdfsig("certomancer_valid_pdfsig", paths, root.read_bytes())
    return {
        "certomancer_documents": written,
        "certomancer_valid_pyhanko": pyhanko,
        **pdfsig,
        "certomancer_documents_a_second": documents / seconds,
        "pyhanko_csc_documents_a_second": theirs,
        "certomancer_ratio": documents / seconds / theirs,
    }


def time_stamps(documents: int = 500) -> Figures:
    """PAdES B-T by the sandbox's authority, each time stamp judged by pyHanko."""
    from asn1crypto import x509
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko_certvalidator import ValidationContext

    contents = [invoice(n, size_bytes=20_000) for n in range(documents)]
    with RunningService("--sandbox-credential=p256") as service, tempfile.TemporaryDirectory() as folder:
        body = sync_body("stamps", contents, applyTimestamp=True)
        began = time.perf_counter()
        answer = sign_sync(service, basic(service), body)
        seconds = time.perf_counter() - began
        (der,) = load_roots([service.root])
        root_pem = service.root.read_bytes()
        valid, paths = 0, []
        for number, entry in enumerate(answer["documentList"]):
            signed = base64.b64decode(entry["signedContent"])
            context = ValidationContext(trust_roots=[x509.Certificate.load(der)], allow_fetching=False)
            (signature,) = PdfFileReader(io.BytesIO(signed)).embedded_signatures
            status = validate_pdf_signature(signature, context, context)
            stamp = status.timestamp_validity
            valid += bool(status.bottom_line and stamp and stamp.valid and stamp.trusted)
            paths.append(Path(folder) / f"{number}.pdf")
            paths[-1].write_bytes(signed)
        judged = taken_by_pdfsig("b_t_valid_pdfsig", paths, root_pem)
    return {
        "b_t_documents": documents,
        "b_t_valid_pyhanko": valid,
        **judged,
        "b_t_documents_a_second": documents / seconds,
    }


def softhsm(requests: int = 8, each: int = 125) -> Figures:
    """A token under eight requests at once, the signer process killed once in the middle."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        url, _ = make_token(folder, "rsa2048")
        (folder / "in").mkdir()
        assert len(list(write_invoices(folder / "in", each, size_bytes=20_000))) == each
        work = folder / "service" / "work"
        work.mkdir(parents=True)
        (work / "pin").write_text(PIN)
        (work / "client-services-config.json").write_text(json.dumps({"A": {"secret": "s", "pinFile": "pin"}}))
        with RunningService(f"--upstream-url={url}", folder=folder / "service") as service:
            twice = 0

            def submit(number: int) -> int:
                client = client_of(service)
                client.register(BatchBody(find_documents([folder / "in"]), f"{number}", "Token"))
                while not (status := client.status(f"{number}", wait_seconds=2)).finished:
                    pass
                client.close()
                return status.documents_done if status.status == "EXECUTED" else 0

            began = time.perf_counter()
            with ThreadPoolExecutor(requests) as threads:
                waiting = [threads.submit(submit, number) for number in range(requests)]
                time.sleep(0.5)
                family = descendants(service.process.pid)
                os.kill(next(pid for pid, command in family if "batchseal.app\0signer" in command), signal.SIGKILL)
                signed = sum(future.result() for future in waiting)
            seconds = time.perf_counter() - began
            for ordinals in signatures_by_operation(folder / "service" / "temp").values():
                twice += sum(times > 1 for times in ordinals.values())
    return {"softhsm_signed": signed, "softhsm_signed_twice": twice, "softhsm_documents_a_second": signed / seconds}


def renewed(address: str, before: bytes, after: Callable[[], bytes], documents: int = 100) -> Figures:
    """A batch whose certificate is renewed in the middle. `before` and `after` are DER; `address` is the signing service's."""
    contents = [invoice(n, size_bytes=20_000) for n in range(documents)]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name) / "service" / "work"
        work.mkdir(parents=True)
        Path(name).chmod(0o711)
        (work / "client-services-config.json").write_text(json.dumps({"A": {"secret": "s"}}))
        with RunningService(f"--upstream-url={address}", folder=Path(name) / "service") as service:
            answer = sign_sync(service, basic(service), sync_body("renewed", contents))
        roots = [Path(name) / "before.der", Path(name) / "after.der"]
        for path, der in zip(roots, (before, after()), strict=True):
            path.write_bytes(der)
        paths, both = [], 0
        for number, entry in enumerate(answer["documentList"]):
            paths.append(Path(name) / f"{number}.pdf")
            paths[-1].write_bytes(base64.b64decode(entry["signedContent"]))
            held = [der.hex().encode() in paths[-1].read_bytes() for der in (before, after())]
            both += held == [True, True]
        valid = sum(verdict.valid for verdict in check_files(paths, load_roots(roots), 2))
        by_new = sum(after().hex().encode() in path.read_bytes() for path in paths)
    return {
        "renewed_documents": documents,
        "renewed_valid": valid,
        "renewed_with_the_new_one": by_new,
        "renewed_with_both": both,
    }
