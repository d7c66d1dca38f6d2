"""The sandbox tells whether its certificates are revoked, by OCSP and by CRLs; OpenSSL asks and judges."""

import base64
import io
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from asn1crypto import keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from harness.invoices import invoice
from harness.sandbox import Sandbox, running_sandbox
from harness.validators import judging, pdfsig_verify
from harness.waiting import until
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.signers import PdfSignatureMetadata, SimpleSigner, sign_pdf
from pyhanko_certvalidator.registry import SimpleCertificateStore

from batchseal.sandbox.authority import Authority
from batchseal.sandbox.certificates import named_port
from batchseal.settings.client_services import SANDBOX_SERVICE

NAMES = ["signer", "timestamp", "intermediate"]
STATUS = ocsp.OCSPResponseStatus


@pytest.fixture(scope="module")
def module_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), "--credential=p256", "--status-seconds=600") as running:
        yield running


@pytest.fixture
def sandbox(module_sandbox: Sandbox) -> Sandbox:
    """With nothing revoked."""
    module_sandbox.revoke()
    return module_sandbox


def pem_of(sandbox: Sandbox, name: str) -> Path:
    """The certificate of the client service ("signer"), or the one of that name, as it names the sandbox's address."""
    pattern, port = "p256-*.pem" if name == "signer" else f"{name}.pem", urlsplit(sandbox.address).port
    if name == "timestamp":
        post(f"{sandbox.address}/tsa", b"")  # the first request for a time stamp makes its certificate
    until(lambda: [path for path in sandbox.folder.glob(pattern) if named_port(load(path)) == port])
    return next(sandbox.folder.glob(pattern))


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def post(url: str, data: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=120) as reply:
        body: bytes = reply.read()
        return body


def get(url: str) -> tuple[str, bytes]:
    """The content type and the body."""
    with urllib.request.urlopen(url, timeout=120) as reply:
        return reply.headers["Content-Type"], reply.read()


def openssl(*arguments: str | Path) -> tuple[int, str]:
    """The exit status, and both outputs."""
    run = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=240, check=False)
    return run.returncode, run.stdout + run.stderr


def issuer_of(sandbox: Sandbox, name: str) -> Path:
    return sandbox.folder / ("root.pem" if name == "intermediate" else "intermediate.pem")


def ask(sandbox: Sandbox, name: str, *which: str | Path) -> str:
    """What `openssl ocsp` says of a certificate, at the address that it names. OpenSSL sends a nonce and wants it back."""
    certificate = pem_of(sandbox, name)
    url = openssl("x509", "-in", certificate, "-noout", "-ocsp_uri")[1].strip()
    assert url == f"{sandbox.address}/ocsp"
    status, said = openssl(
        *("ocsp", "-issuer", issuer_of(sandbox, name), *(which or ("-cert", certificate)), "-url", url),
        *("-CAfile", sandbox.root, "-verify_other", sandbox.folder / "intermediate.pem", "-validity_period", "5"),
    )
    assert status == 0 and "Response verify OK" in said and "WARNING" not in said, said
    return said


def verify(sandbox: Sandbox, name: str) -> str:
    """What `openssl verify` says of a certificate. It fetches the CRL from the place that the certificate names."""
    certificate, untrusted = pem_of(sandbox, name), sandbox.folder / "intermediate.pem"
    wanted = ("-crl_check", "-crl_download", "-x509_strict", "-CAfile", sandbox.root, "-untrusted", untrusted)
    return openssl("verify", *wanted, certificate)[1]


@pytest.mark.parametrize("name", NAMES)
def test_openssl_finds_a_certificate_good_then_revoked_then_good(sandbox: Sandbox, name: str) -> None:
    path = pem_of(sandbox, name)
    assert f"{path}: good" in ask(sandbox, name) and f"{path}: OK" in verify(sandbox, name)
    sandbox.revoke(f"{path.stem} keyCompromise 2026-01-02T03:04:05Z")
    said = ask(sandbox, name)
    assert f"{path}: revoked" in said and "Reason: keyCompromise" in said and "Jan  2 03:04:05 2026 GMT" in said
    assert "certificate revoked" in verify(sandbox, name)
    sandbox.revoke()
    assert f"{path}: good" in ask(sandbox, name) and f"{path}: OK" in verify(sandbox, name)


def test_only_the_certificate_that_is_named_is_revoked(sandbox: Sandbox) -> None:
    serial = openssl("x509", "-in", pem_of(sandbox, "timestamp"), "-noout", "-serial")[1].strip().partition("=")[2]
    sandbox.revoke(serial)
    said = ask(sandbox, "timestamp")
    assert "timestamp.pem: revoked" in said and "Reason" not in said
    assert ": good" in ask(sandbox, "signer") and ": good" in ask(sandbox, "intermediate")
    assert ": OK" in verify(sandbox, "signer")


def test_a_serial_number_that_was_never_issued_is_unknown(sandbox: Sandbox) -> None:
    assert "0x4711: unknown" in ask(sandbox, "signer", "-serial", "0x4711")
    root_alone = load(pem_of(sandbox, "intermediate")).serial_number  # issued, but by the root
    assert ": unknown" in ask(sandbox, "signer", "-serial", str(root_alone))


def test_openssl_checks_the_whole_chain_with_both_crls(sandbox: Sandbox, tmp_path: Path) -> None:
    leaf, lists = pem_of(sandbox, "signer"), tmp_path / "crls.pem"

    def check() -> str:
        for name in ("root", "intermediate"):
            path, (kind, body) = tmp_path / f"{name}.crl", get(f"{sandbox.address}/crl/{name}.crl")
            path.write_bytes(body)
            judged = ("-CAfile", sandbox.folder / f"{name}.pem", "-out", tmp_path / f"{name}.pem")
            assert kind == "application/pkix-crl"
            assert "verify OK" in openssl("crl", "-inform", "DER", "-in", path, "-verify", *judged)[1]
        lists.write_bytes(b"".join((tmp_path / f"{name}.pem").read_bytes() for name in ("root", "intermediate")))
        wanted = ("-crl_check_all", "-x509_strict", "-CAfile", sandbox.root)
        return openssl("verify", *wanted, "-untrusted", sandbox.folder / "intermediate.pem", "-CRLfile", lists, leaf)[1]

    assert f"{leaf}: OK" in check()
    sandbox.revoke("intermediate cACompromise")
    said = check()
    assert "error 23 at 1 depth lookup: certificate revoked" in said  # the intermediate, one above the signer
    text = openssl("crl", "-inform", "DER", "-in", tmp_path / "root.crl", "-noout", "-text")[1]
    assert "CA Compromise" in text and text.count("Serial Number:") == 1


def test_a_later_crl_has_a_larger_number_and_is_valid_as_long_as_was_asked(sandbox: Sandbox) -> None:
    lists = [x509.load_der_x509_crl(get(f"{sandbox.address}/crl/intermediate.crl")[1]) for _ in range(2)]
    first, second = (one.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for one in lists)
    assert first < second
    assert lists[0].next_update_utc is not None
    assert (lists[0].next_update_utc - lists[0].last_update_utc).total_seconds() == 601


@pytest.mark.parametrize("name", NAMES)
def test_the_certificate_of_the_issuer_is_where_a_certificate_says(sandbox: Sandbox, name: str) -> None:
    access = load(pem_of(sandbox, name)).extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    (url,) = (a.access_location.value for a in access if a.access_method == AuthorityInformationAccessOID.CA_ISSUERS)
    kind, body = get(url)
    assert kind == "application/pkix-cert" and x509.load_der_x509_certificate(body) == load(issuer_of(sandbox, name))


def request_for(
    sandbox: Sandbox, algorithm: hashes.HashAlgorithm, nonce: bytes | None = None
) -> tuple[bytes, x509.Certificate]:
    certificate = load(pem_of(sandbox, "signer"))
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        certificate, load(sandbox.folder / "intermediate.pem"), algorithm
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER), certificate


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA512()], ids=lambda one: one.name)
def test_get_answers_as_post_whatever_characters_the_base64_has(
    sandbox: Sandbox, algorithm: hashes.HashAlgorithm
) -> None:
    """RFC 6960 A.1: the characters + / and = are percent-encoded; not all clients encode + and /."""
    # The length of the nonce decides whether the base64 ends in =, and its content whether + and / occur.
    nonces = (os.urandom(1 + number % 32) for number in range(10_000))
    requests = ((nonce, request_for(sandbox, algorithm, nonce)[0]) for nonce in nonces)
    nonce, request = next(found for found in requests if {*b"+/="} <= {*base64.b64encode(found[1])})
    text = base64.b64encode(request).decode()
    for path in (quote(text, safe=""), quote(text, safe="+/")):
        kind, body = get(f"{sandbox.address}/ocsp/{path}")
        answer = ocsp.load_der_ocsp_response(body)
        assert kind == "application/ocsp-response" and answer.certificate_status == ocsp.OCSPCertStatus.GOOD
        assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert isinstance(answer.hash_algorithm, type(algorithm))


def test_the_responder_is_named_by_the_issuer_and_needs_no_status_itself(sandbox: Sandbox) -> None:
    answer = ocsp.load_der_ocsp_response(post(f"{sandbox.address}/ocsp", request_for(sandbox, hashes.SHA1())[0]))
    (responder,) = answer.certificates
    responder.verify_directly_issued_by(load(sandbox.folder / "intermediate.pem"))
    purposes = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
    with pytest.raises(x509.ExtensionNotFound):
        responder.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    with pytest.raises(x509.ExtensionNotFound):
        answer.extensions.get_extension_for_class(x509.OCSPNonce)  # none was asked for
    assert answer.next_update_utc is not None
    assert (answer.next_update_utc - answer.this_update_utc).total_seconds() == 601


def signed_pdf(sandbox: Sandbox, path: Path) -> Path:
    """A PDF that pyHanko has signed with the key of the sandbox's client service."""
    signer = Authority(sandbox.folder, "p256", sandbox.address).signer(SANDBOX_SERVICE)
    leaf, *above = map(asn1_x509.Certificate.load, signer.chain_der())
    key = signer.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    store = SimpleCertificateStore()
    store.register_multiple(above)
    writer = IncrementalPdfFileWriter(io.BytesIO(invoice(1)))
    metadata = PdfSignatureMetadata(field_name="Seal")
    made = SimpleSigner(signing_cert=leaf, signing_key=keys.PrivateKeyInfo.load(key), cert_registry=store)
    path.write_bytes(sign_pdf(writer, metadata, signer=made).getvalue())
    return path


def test_poppler_asks_for_the_status_of_a_signer(tmp_path: Path) -> None:
    """By NSS. Where nobody answers it takes the certificate, and so does our judge although poppler says "unknown"."""
    with running_sandbox(tmp_path, "--credential=p256") as sandbox:
        pem = pem_of(sandbox, "signer")
        serial, root = f"{load(pem).serial_number:X}", sandbox.root.read_bytes()
        path = signed_pdf(sandbox, tmp_path / "signed.pdf")
        with judging():
            (good,) = pdfsig_verify([path], root)[path]
            assert good.good and "Certificate is Trusted" in good.detail
            assert sandbox.status_requests()["ocsp"] == {serial: 1}
            sandbox.revoke(pem.stem)
            (revoked,) = pdfsig_verify([path], root)[path]
            assert revoked.valid and revoked.trusted is False and "Certificate has been Revoked" in revoked.detail
    with judging():
        (alone,) = pdfsig_verify([path], root)[path]
    assert alone.good and alone.trusted, alone


def nothing(sandbox: Sandbox) -> bytes:
    return b""


def cut(sandbox: Sandbox) -> bytes:
    return request_for(sandbox, hashes.SHA1())[0][:-1]


def long_nonce(sandbox: Sandbox) -> bytes:
    return request_for(sandbox, hashes.SHA1(), bytes(129))[0]


def empty_nonce(sandbox: Sandbox) -> bytes:
    return request_for(sandbox, hashes.SHA1(), b"")[0]


def two_certificates(sandbox: Sandbox) -> bytes:
    path = sandbox.folder / "two.der"
    certificates = ("-cert", pem_of(sandbox, "signer"), "-cert", pem_of(sandbox, "timestamp"))
    openssl("ocsp", "-issuer", sandbox.folder / "intermediate.pem", *certificates, "-reqout", path)
    return path.read_bytes()


def another_issuer(sandbox: Sandbox) -> bytes:
    """Of the same name, with another key."""
    chain = Authority(sandbox.folder / "another", "p256").signer("A").chain
    return (
        ocsp.OCSPRequestBuilder()
        .add_certificate(chain[0], chain[1], hashes.SHA256())
        .build()
        .public_bytes(Encoding.DER)
    )


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (nothing, STATUS.MALFORMED_REQUEST),
        (cut, STATUS.MALFORMED_REQUEST),
        (long_nonce, STATUS.MALFORMED_REQUEST),
        (empty_nonce, STATUS.MALFORMED_REQUEST),
        (two_certificates, STATUS.UNAUTHORIZED),
        (another_issuer, STATUS.UNAUTHORIZED),
    ],
)
def test_a_request_without_an_answer_is_refused_as_the_standard_says(
    sandbox: Sandbox, make: Callable[[Sandbox], bytes], status: ocsp.OCSPResponseStatus
) -> None:
    assert ocsp.load_der_ocsp_response(post(f"{sandbox.address}/ocsp", make(sandbox))).response_status == status


def test_what_is_no_base64_and_who_is_no_issuer_is_refused(sandbox: Sandbox) -> None:
    answer = ocsp.load_der_ocsp_response(get(f"{sandbox.address}/ocsp/no-base64")[1])
    assert answer.response_status == STATUS.MALFORMED_REQUEST
    for path in ("crl/timestamp.crl", "crl/root.cer", "issuers/timestamp.cer", "crl/..%2Froot.crl"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{sandbox.address}/{path}")


def test_requests_are_counted_by_certificate_and_by_issuer(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, "--credential=p256") as sandbox:
        assert sandbox.status_requests() == {"ocsp": {}, "crl": {}, "issuers": {}, "signatures": {}, "stamps": {}}
        for name in ("signer", "signer", "timestamp"):
            ask(sandbox, name)
        ask(sandbox, "signer", "-serial", "7")
        post(f"{sandbox.address}/ocsp", b"junk")
        for path in ("crl/root.crl", "crl/root.crl", "issuers/intermediate.cer"):
            get(f"{sandbox.address}/{path}")
        signer, timestamp = (f"{load(pem_of(sandbox, name)).serial_number:X}" for name in ("signer", "timestamp"))
        counts = {signer: 2, timestamp: 1, "unknown": 1, "malformed": 1}
        asked = {"ocsp": counts, "crl": {"root": 2}, "issuers": {"intermediate": 1}}
        # The certificate of the time stamp authority was taken from a time stamp, twice.
        assert sandbox.status_requests() == {**asked, "signatures": {}, "stamps": {"given": 2}}


def test_a_list_of_revocations_that_cannot_be_read_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, "--credential=p256") as sandbox:
        request, _ = request_for(sandbox, hashes.SHA1())
        sandbox.revoke("timestmap")
        answer = ocsp.load_der_ocsp_response(post(f"{sandbox.address}/ocsp", request))
        assert answer.response_status == STATUS.INTERNAL_ERROR
        with pytest.raises(urllib.error.HTTPError, match="500") as refused:
            get(f"{sandbox.address}/crl/intermediate.crl")
        assert b"revoked.txt: line 1: 'timestmap' is neither" in refused.value.read()
        command = [*map(str, sandbox.process.args)]  # type: ignore[arg-type]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert failed.returncode == 2 and "revoked.txt: line 1" in failed.stderr and "Traceback" not in failed.stderr


def chain_of(sandbox: Sandbox) -> list[x509.Certificate]:
    return [load(path) for path in (pem_of(sandbox, "signer"), pem_of(sandbox, "intermediate"), sandbox.root)]


def test_a_restart_keeps_port_and_certificates(tmp_path: Path) -> None:
    """Otherwise what was prepared for the certificate would be prepared again after each start."""
    seen = []
    for _ in range(2):
        with running_sandbox(tmp_path, "--credential=p256") as sandbox:
            seen.append((sandbox.address, chain_of(sandbox)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("taken", [True, False], ids=["its port is taken", "another port is asked for"])
def test_at_another_port_certificates_are_replaced_and_the_old_ones_stay_known(tmp_path: Path, taken: bool) -> None:
    with running_sandbox(tmp_path, "--credential=p256") as sandbox:
        old, port = chain_of(sandbox), urlsplit(sandbox.address).port
    with socket.create_server(("127.0.0.1", port if taken else 0)) as other:
        free = [] if taken else [f"--port={other.getsockname()[1]}"]
        if not taken:
            other.close()
        with running_sandbox(tmp_path, "--credential=p256", *free) as sandbox:
            assert urlsplit(sandbox.address).port != port
            new = chain_of(sandbox)
            assert new[2] == old[2] and new[0] != old[0] and new[1] != old[1]
            assert [one.public_key() for one in new] == [one.public_key() for one in old]
            for before in old[:2]:  # each leads to the root through the intermediate of today, and its status is told
                before.verify_directly_issued_by(new[1] if before is old[0] else new[2])
            assert ": good" in ask(sandbox, "signer", "-serial", str(old[0].serial_number))
            sandbox.revoke(next(sandbox.folder.glob("p256-*.pem")).stem)
            for certificate in (old[0], new[0]):  # a name means every certificate of the key
                assert ": revoked" in ask(sandbox, "signer", "-serial", str(certificate.serial_number))


def test_the_folder_of_an_earlier_release_goes_on_under_its_keys(tmp_path: Path) -> None:
    """Its certificates name no place, and it has no list of them."""
    services = '{"A": {"secret": "s"}}'
    (tmp_path / "client-services-config.json").write_text(services)
    old = Authority(tmp_path, "p256").signer("A").chain
    (tmp_path / "issued.txt").unlink()
    with running_sandbox(tmp_path, "--credential=p256") as sandbox:
        new = chain_of(sandbox)
        assert new[2] == old[2] and [one.public_key() for one in new] == [one.public_key() for one in old]
        assert ": good" in ask(sandbox, "signer")
        assert ": good" in ask(sandbox, "signer", "-serial", str(old[0].serial_number))
