"""The real service: TLS and client certificates, guessing of secrets over two workers, who signs, and the audit commands."""

import base64
import datetime
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from harness.service import RunningService, free_port
from tests.support.certificates import as_rfc5280_demands
from tests.support.service import (
    BASE,
    FAST,
    SYNC,
    batch,
    connect,
    credentials,
    documents,
    finished,
    get,
    head,
    post,
    reply,
    until,
)

LIVE_REQUESTS = 'batchseal_requests_total{route="live"'
REFUSED = (urllib.error.URLError, ssl.SSLError, ConnectionError, http.client.HTTPException)


def certificate(folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(issuer is None, None), True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
    )
    issuer_key = issuer[1] if issuer else key
    builder = as_rfc5280_demands(builder, key.public_key(), issuer_key.public_key(), authority=issuer is None)
    made = builder.sign(issuer_key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(*form))
    return made, key


def test_tls_and_client_certificates(tmp_path: Path) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", authority)
    certificate(tmp_path, "caller", authority)
    port = free_port()
    flags = [f"--tls-certificate={tmp_path}/server.pem", f"--tls-key={tmp_path}/server.key"]
    tmp_path.chmod(0o711)
    command = [sys.executable, "-m", "batchseal.cli", "serve", *FAST]
    command += [f"--temp-folder={tmp_path}/temp", f"--work-folder={tmp_path}/work"]
    flags += [f"--tls-client-ca={tmp_path}/authority.pem", f"--port={port}"]
    management = f"--management-port={free_port()}"
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen([*command, *flags, management], stderr=log)
    try:
        until(lambda: b"ready at https://" in (tmp_path / "log").read_bytes())
        url = f"https://localhost:{port}/health/live"
        trusting = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
        with pytest.raises(REFUSED):
            urllib.request.urlopen(url, context=trusting, timeout=120)
        trusting.load_cert_chain(tmp_path / "caller.pem", tmp_path / "caller.key")
        with urllib.request.urlopen(url, context=trusting, timeout=120) as answer:
            assert answer.status == 200
        with pytest.raises(REFUSED):
            urllib.request.urlopen(f"http://localhost:{port}/health/live", timeout=120)
        # The health check of a container has no certificate.
        probe = [sys.executable, "-m", "batchseal.cli", "probe", *flags]
        until(lambda: subprocess.run([*probe, management], capture_output=True, check=False).returncode == 0)
        refused = subprocess.run(probe, capture_output=True, text=True, check=False)
        assert refused.returncode == 1 and "give --management-port" in refused.stdout
    finally:
        service.terminate()
        assert service.wait(120) == 0


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    with RunningService(*FAST, "--workers=2", "--trusted-proxies=127.0.0.9") as running:
        yield running


LOST_DOMAINS = [
    [],
    ["--einvoice-integration-client.service.domain="],
    ["--einvoice-integration-client.service.domian=https://signing.example"],
]


@pytest.mark.parametrize("domain", LOST_DOMAINS)
def test_the_sandbox_does_not_start_for_an_operators_clients(domain: list[str], tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "client-services-config.json").write_text('{"my-client": {"secret": "s"}}')
    command = [sys.executable, "-m", "batchseal.cli", "serve", f"--port={free_port()}", *domain]
    command += [f"--temp-folder={tmp_path}/temp", f"--work-folder={tmp_path}/work"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 2
    assert "set --service-domain or --upstream-url, or give --sandbox" in ended.stderr
    assert not (tmp_path / "temp").exists()


def attempt(service: RunningService, name: str, secret: str, *, source: str = "127.0.0.1", forwarded: str = "") -> int:
    basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
    with socket.create_connection(("127.0.0.1", service.port), 30, (source, 0)) as connection:
        lines = [f"GET {BASE}/operation/status/1 HTTP/1.1", "Host: x", f"Authorization: Basic {basic}"]
        lines += [f"X-Forwarded-For: {forwarded}"] if forwarded else []
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return reply(connection)[0]


def test_guessing_is_stopped_across_workers(service: RunningService) -> None:
    # Each connection may reach another worker: the count is theirs together.
    answers = [attempt(service, "nobody", f"guess {n}") for n in range(14)]
    assert answers[:10] == [401] * 10
    assert answers[10:] == [429] * 4
    assert attempt(service, *credentials(service)) == 404


def test_behind_a_trusted_proxy_each_caller_counts_alone(service: RunningService) -> None:
    """Only the proxy is believed. What a caller puts in front of the address that the proxy appends is not."""
    name = credentials(service)[0]
    for number in range(10):
        proxied = f"198.51.100.{number}, 203.0.113.5"
        assert attempt(service, name, f"guess {number}", source="127.0.0.9", forwarded=proxied) == 401
    assert attempt(service, *credentials(service), source="127.0.0.9", forwarded="203.0.113.5") == 429
    assert attempt(service, *credentials(service), source="127.0.0.9", forwarded="203.0.113.6") == 404
    for number in range(10):
        pretended = f"203.0.113.{100 + number}"
        assert attempt(service, name, f"guess {number}", source="127.0.0.8", forwarded=pretended) == 401
    assert attempt(service, *credentials(service), source="127.0.0.8", forwarded="203.0.113.200") == 429
    assert attempt(service, *credentials(service)) == 404


def counted(service: RunningService) -> int:
    """Requests to the live address, as one of the workers tells it."""
    lines = get(service, "/metrics")[2].decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(LIVE_REQUESTS))


def workers(service: RunningService) -> set[int]:
    folders = (Path("/proc") / pid for pid in os.listdir("/proc") if pid.isdecimal())
    parents = {int(folder.name): parent_and_command(folder) for folder in folders}
    return {pid for pid, (parent, command) in parents.items() if parent == service.process.pid and b"worker" in command}


def parent_and_command(process: Path) -> tuple[int, list[bytes]]:
    try:
        stat, command = (process / "stat").read_text(), (process / "cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return 0, []
    return int(stat.rpartition(")")[2].split()[1]), command.split(b"\0")


def listeners(service: RunningService) -> int:
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(fields[1].endswith(f":{service.port:04X}") and fields[3] == "0A" for fields in sockets)


def test_workers_count_together_and_beyond_their_end(service: RunningService) -> None:
    before = counted(service)
    for _ in range(30):
        assert get(service, "/health/live")[0] == 200
    until(lambda: counted(service) == before + 30)
    assert {counted(service) for _ in range(10)} == {before + 30}
    assert listeners(service) == 2
    before_the_kill = workers(service)
    os.kill(min(before_the_kill), signal.SIGKILL)
    # A new one is started once the killed one has ended, and with it its socket.
    until(lambda: workers(service) - before_the_kill and listeners(service) == 2)
    assert {counted(service) for _ in range(10)} == {before + 30}
    assert get(service, "/health/live")[0] == 200
    until(lambda: counted(service) == before + 31)


def audit(service: RunningService, *arguments: str) -> tuple[int, str]:
    return command_on(service, "audit", *arguments)


def command_on(service: RunningService, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "batchseal.cli", *arguments]
    folders = [f"--temp-folder={service.folder}/temp", f"--work-folder={service.folder}/work"]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_audit_trail_tells_and_holds(service: RunningService, tmp_path: Path) -> None:
    assert post(service, batch("told", documents(3)))[0] == 200
    operation = finished(service, "told").operation_id
    assert get(service, f"{BASE}/operation/sign/detail/{operation}/contentInResponse/true")[0] == 200
    lines: list[dict[str, object]] = []

    def told() -> bool:
        code, _ = audit(service, "export", f"--out={tmp_path}/trail")
        assert code == 0
        lines[:] = [json.loads(line) for line in (tmp_path / "trail").read_text().splitlines()]
        return len(lines) == 3

    until(told, pause=0.5)
    assert [line["event"] for line in lines] == ["REGISTERED", "FINISHED", "FETCHED"]
    assert {line["operation"] for line in lines} == {operation}
    assert {line["clientService"] for line in lines} == {credentials(service)[0]}
    # All three were prepared at reception: what was signed is what came in.
    assert lines[0]["documentsDigest"] == lines[1]["documentsDigest"] != ""
    assert len(str(lines[1]["credential"])) == 64
    assert audit(service, "verify")[0] == 0
    assert audit(service, "verify", str(tmp_path / "trail"))[0] == 0
    changed = (tmp_path / "trail").read_text().replace('"signed":3', '"signed":2', 1)
    (tmp_path / "trail").write_text(changed)
    code, said = audit(service, "verify", str(tmp_path / "trail"))
    assert code == 1
    assert "BROKEN" in said


def test_a_folder_that_is_not_mounted_is_asked_for_again(service: RunningService) -> None:
    assert post(service, batch("unmounted", documents(2)))[0] == 200
    operation = finished(service, "unmounted").operation_id
    path = f"{BASE}/operation/sign/detail/{operation}/contentInResponse/true"
    spill = service.folder / "temp" / "spill"
    spill.rename(spill.with_name("away"))
    try:
        status, headers, said = get(service, path)
        assert (status, json.loads(said)["errorCode"]) == (503, "batchseal.payload_unavailable")
        assert int(headers["retry-after"]) > 0
        assert get(service, f"{BASE}/operation/status/{operation}")[0] == 200
    finally:
        spill.with_name("away").rename(spill)
    status, _, said = get(service, path)
    assert (status, json.loads(said)["status"]) == (200, "EXECUTED")


def test_a_taken_reference_is_said_before_the_body_has_come(service: RunningService) -> None:
    assert post(service, batch("early", documents(1)))[0] == 200
    operation = finished(service, "early").operation_id
    again = batch("early", documents(200))
    with connect(service) as connection:
        # A hundred times more is announced, and never sent.
        connection.sendall(head(service, 100 * len(again)) + again[:300_000])
        status, headers, said = reply(connection)
    assert (status, json.loads(said)["errorCode"], json.loads(said)["id"]) == (409, "0.0.7", operation)
    assert headers["location"].endswith(f"/operation/status/{operation}")


def test_every_reply_says_that_the_sandbox_signs(service: RunningService) -> None:
    paths = ("/health/live", "/metrics", "/no/such/address", f"{BASE}/operation/status/999999")
    replies = [get(service, path) for path in paths]
    replies.append(post(service, b"not JSON"))
    replies.append(post(service, batch("toy", documents(1)), path=SYNC))
    assert [status for status, _, _ in replies] == [200, 200, 404, 404, 400, 200]
    assert [headers.get("batchseal-sandbox") for _, headers, _ in replies] == ["true"] * 6


def test_the_texts_of_a_request_are_erased(service: RunningService, tmp_path: Path) -> None:
    assert post(service, batch("to erase", documents(2)))[0] == 200
    operation = finished(service, "to erase").operation_id
    assert command_on(service, "erase", "--reference", "never seen")[0] == 1
    assert command_on(service, "erase")[0] == 2

    def refused() -> str:
        code, said = command_on(service, "erase", "--reference", "to erase")
        assert code == 1
        return said

    until(lambda: f"the documents of operation {operation} are still stored" in refused())
    codes = list[int]()

    def erased() -> bool:
        code, said = command_on(service, "erase", "--reference", "to erase", "--documents")
        codes.append(code)
        assert code == 0 or "try again in a moment" in said
        return code == 0

    until(erased)
    status, _, said = get(service, f"{BASE}/operation/status/{operation}")
    assert (status, json.loads(said)["externalReference"], json.loads(said)["documentsSigned"]) == (200, "to erase", 2)
    path = f"{BASE}/operation/sign/detail/{operation}/contentInResponse/false"
    assert json.loads(get(service, path)[2])["errorCode"] == "batchseal.result_expired"
    assert json.loads(post(service, batch("to erase", documents(2)))[2])["errorCode"] == "0.0.7"
    assert audit(service, "export", f"--out={tmp_path}/trail")[0] == 0
    entries = [json.loads(line) for line in (tmp_path / "trail").read_text().splitlines()]
    assert "ERASED" in [entry["event"] for entry in entries if entry["operation"] == operation]
    code, verdict = audit(service, "verify")
    assert (code, "is intact" in verdict) == (0, True)
