"""What was prepared for a certificate of the sandbox outlives a start at which the sandbox gets another port."""

import base64
import socket
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography import x509
from harness.service import RunningService
from pyhanko.pdf_utils.reader import PdfFileReader
from tests.adversity.drills.crashes import judge_ended
from tests.adversity.drills.judge import judge_result, result_of
from tests.adversity.drills.purging import crashing
from tests.support.service import FAST, batch, documents, finished, post, until

from batchseal.sandbox.authority import stored_port
from batchseal.sandbox.certificates import named_port

DOCUMENTS = 30


def port_in(entry: Any, folder: Path) -> int:
    """The port of the responder that the signer's certificate in a signed document names."""
    path = folder / "signed.pdf"
    path.write_bytes(base64.b64decode(entry["signedContent"]))
    with path.open("rb") as file:
        (signature,) = PdfFileReader(file).embedded_signatures
        return named_port(x509.load_der_x509_certificate(signature.signer_cert.dump()))


def test_an_operation_goes_on_although_the_sandbox_gets_another_port(tmp_path: Path) -> None:
    """Documents that were signed keep the certificate that they were signed with, the others get the new one. All are valid."""
    contents, place = documents(DOCUMENTS), tmp_path / "place"
    place.mkdir()
    flags = (*FAST, "--sandbox-latency=300", "--sandbox-multisign=5")
    # Everything ends when the signatures of the first call are kept. Nothing is said of the reply: it may come too late.
    with crashing("outcomes-recorded", everything=True), RunningService(*flags, folder=place) as service:
        before = stored_port(place / "temp" / "sandbox")
        post(service, batch("moved", contents))
        until(lambda: service.process.poll() is not None)
    judge_ended(place)
    with (
        socket.create_server(("127.0.0.1", before)),
        RunningService(*FAST, folder=place) as service,
    ):
        after = stored_port(place / "temp" / "sandbox")
        operation = finished(service, "moved").operation_id
        judge_result(service, operation, contents)
        entries = result_of(service, operation)["documentList"]
        assert isinstance(entries, list)
        ports = Counter(port_in(entry, tmp_path) for entry in entries)
    assert before != after and set(ports) == {before, after} and ports.total() == DOCUMENTS, ports
