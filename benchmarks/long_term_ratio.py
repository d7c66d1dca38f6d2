"""Levels LT and LTA beside the level below: documents per CPU second of one core, with fixed evidence.

    python -m benchmarks.long_term_ratio            PAdES, XAdES and CAdES, 200 KB, medians of interleaved rounds

Everything is ours: from the original in memory to the signed document, with what the signer asks of the format in between. Left
out is what others do: the raw signature, time stamp tokens and validation material (one OCSP response, one CRL and the
certificates) are made before, and a token only gets the digest that it is about. Each figure is the lower one of XAdES and CAdES; PAdES has figures of its own.

Checked: every signature has what its level asks for, and each token in it is about the digest that its format asked for.
"""

import argparse
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from asn1crypto import algos, keys, tsp
from asn1crypto import x509 as asn1_x509
from benchmarks import cades_ratio, level_bytes, xades_ratio
from benchmarks.packagers import Contender, RawSign, credential, fixed
from benchmarks.packaging_ratio import measure_corpus
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from harness.invoices import invoice
from harness.validators.local_signer import local_signer
from harness.xml_invoices import xml_invoice
from pyhanko.sign.timestamps import DummyTimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from batchseal.document import Credential, Description, Evidence, Material, Prepared, Refusal
from batchseal.formats import material
from batchseal.formats.cades.cades import Cades
from batchseal.formats.interface import BATCH_DOCUMENTS, NeedKind, SignatureFormat
from batchseal.formats.pades.pades import Pades
from batchseal.formats.xades.xades import Xades
from batchseal.operation import ContentType
from batchseal.signature import Level

DOCUMENT_BYTES = 200_000
ROUNDS = 7
LEVELS = Level.T, Level.LT, Level.LTA


@cache
def token_parts() -> tuple[bytes, bytes]:
    """What stands before and behind the digest in a time stamp token."""
    one, digest = local_signer(), hashlib.sha256(b"").digest()
    der = one.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    store = SimpleCertificateStore.from_certs([one.certificate])
    stamper = DummyTimeStamper(one.certificate, keys.PrivateKeyInfo.load(der), store)
    algorithm = algos.DigestAlgorithm({"algorithm": "sha256"})
    imprint = tsp.MessageImprint({"hash_algorithm": algorithm, "hashed_message": digest})
    reply = stamper.request_tsa_response(
        tsp.TimeStampReq({"version": 1, "message_imprint": imprint, "cert_req": True, "nonce": 1})
    )
    before, _, behind = bytes(reply["time_stamp_token"].dump()).partition(digest)
    return before, behind


def token(digest: bytes) -> bytes:
    before, behind = token_parts()
    return before + digest + behind


@cache
def stored_material(*, deflates: bool) -> bytes:
    """One answer of a responder, one list and the certificates, as evidence holds them."""
    one, now = local_signer(), datetime.now(UTC)
    leaf, root = (x509.load_der_x509_certificate(der) for der in (one.certificate.dump(), one.root_der))
    answer = ocsp.OCSPResponseBuilder().add_response(
        leaf, root, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, now, now + timedelta(days=1), None, None
    )
    # Who signs them does not matter here.
    response = answer.responder_id(ocsp.OCSPResponderEncoding.HASH, leaf).sign(one.key, hashes.SHA256())
    revoked = x509.CertificateRevocationListBuilder(root.subject, now, now + timedelta(days=1))
    listed = revoked.sign(one.key, hashes.SHA256())
    found = Material(
        (one.certificate.dump(), one.root_der),
        (response.public_bytes(Encoding.DER),),
        (listed.public_bytes(Encoding.DER),),
    )
    return material.encoded(found, credential().chain, deflates=deflates)


def signed(form: SignatureFormat, content: bytes, prepared: Prepared, key: Credential, sign: RawSign) -> Sequence[Any]:
    """The rounds of the signer, with evidence that is there already; then what delivery does."""
    evidence = Evidence(sign(prepared.digest))
    while (need := form.next_need(prepared, evidence, key)) is not None:
        if need.kind is NeedKind.TIME_STAMP:
            evidence = replace(evidence, time_stamps=(token(need.imprint),))
        elif need.kind is NeedKind.VALIDATION_MATERIAL:
            evidence = replace(evidence, material=stored_material(deflates=need.deflates))
        else:
            evidence = replace(evidence, archive_time_stamps=(token(need.imprint),))
    form.added_bytes(prepared, evidence, key)
    return form.package(content, prepared, evidence, key).segments


def contender(form: SignatureFormat, description: Description, level: Level) -> Contender:
    key, wanted = credential(), replace(description, level=level)

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        moment, out = datetime.now(UTC), list[Sequence[Any]]()
        for at in range(0, len(documents), BATCH_DOCUMENTS):
            batch = documents[at : at + BATCH_DOCUMENTS]
            originals = [(ordinal, wanted, content) for ordinal, content in enumerate(batch)]
            for content, prepared in zip(batch, form.prepare(originals, key, moment), strict=True):
                if isinstance(prepared, Refusal):
                    raise RuntimeError(prepared.cause)
                out.append(signed(form, content, prepared, key, sign))
        return out

    return Contender(level.name, seal)


def check(name: str, form: SignatureFormat, description: Description, document: bytes) -> None:
    """Raises RuntimeError if a signature lacks what its level asks for."""
    wholes = [b"".join(contender(form, description, level).seal([document], fixed)[0]) for level in LEVELS]
    if name == "xades":
        parts = (b"<xades:SignatureTimeStamp", b"<xades:RevocationValues", b"ArchiveTimeStamp")
        found = [[part in whole for part in parts] for whole in wholes]
    elif name == "pades":
        stamp = asn1_x509.ObjectIdentifier("1.2.840.113549.1.9.16.2.14").dump().hex().encode()
        found = [[part in whole for part in (stamp, b"/OCSPs[", b"/DocTimeStamp")] for whole in wholes]
    else:  # the names of the objects that hold them (RFC 3161, RFC 5652 10.2.1 and RFC 5940, EN 319 122-1 5.5.3)
        objects = ("1.2.840.113549.1.9.16.2.14", "1.3.6.1.5.5.7.16.2", "0.4.0.1733.2.4")
        ders = [asn1_x509.ObjectIdentifier(one).dump() for one in objects]
        found = [[part in whole for part in ders] for whole in wholes]
    if found != [[True, False, False], [True, True, False], [True, True, True]]:
        raise RuntimeError(f"the figures are void, {name} signatures are not of their level: {found}")


def measure(count: int = 96, rounds: int = ROUNDS) -> dict[str, Any]:
    """Figures, and the rates of each format and level that they come from."""
    corpora: dict[str, tuple[SignatureFormat, Description, list[bytes]]] = {
        "pades": (
            Pades(),
            Description("bench", "bench.pdf", ContentType.PDF, "Fatura", "Oeiras"),
            [invoice(number, size_bytes=DOCUMENT_BYTES) for number in range(1, count + 1)],
        ),
        "xades": (
            Xades(),
            xades_ratio.DESCRIPTION,
            [xml_invoice(number, size_bytes=DOCUMENT_BYTES) for number in range(1, count + 1)],
        ),
        "cades": (
            Cades(),
            cades_ratio.DESCRIPTION,
            [random.Random(number).randbytes(DOCUMENT_BYTES) for number in range(count)],
        ),
    }
    result: dict[str, Any] = {"rates": {}, "judged": {}}
    for name, (form, description, documents) in corpora.items():
        check(name, form, description, documents[0])
        levels = [contender(form, description, level) for level in LEVELS]
        result["rates"][name] = measure_corpus(documents, rounds, levels)
    rates = [result["rates"][name] for name in ("xades", "cades")]
    result["lt_over_t"] = round(min(one["LT"] / one["T"] for one in rates), 3)
    result["lta_over_lt"] = round(min(one["LTA"] / one["LT"] for one in rates), 3)
    pades = result["rates"]["pades"]
    result["pades_lt_over_t"] = round(pades["LT"] / pades["T"], 3)
    result["pades_lta_over_lt"] = round(pades["LTA"] / pades["LT"], 3)
    return result | {"lt_bytes_kb": level_bytes.measure()["lt_bytes_kb"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(json.dumps(measure(options.count, options.rounds), indent=2))


if __name__ == "__main__":
    main()
