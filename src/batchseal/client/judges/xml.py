"""Judges XAdES signatures for `batchseal verify`: references by lxml, values by cryptography, certificate paths by pyHanko.

Nothing of the code that writes signatures is used here. What this does not know (a transform, an algorithm, a reference to
another file) makes a signature not valid, and is named.
"""

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchseal.client.judges.levels import judge_levels
from batchseal.client.judges.references import DIGESTS, DS, SIGNED_PROPERTIES, XADES, References, canonical, signatures
from batchseal.client.judges.unsigned_properties import UnsignedProperties
from batchseal.client.judges.verdicts import Findings, Verdict, name_of, trust_in

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def judge_xml(path: Path, roots: Sequence[bytes]) -> Verdict:
    """The verdict on one file: each of its signatures must be right, and one of them must cover the document."""
    content = path.read_bytes()
    count = len(signatures(content))
    if count == 0:
        return Verdict(path, False, problem="no signature")
    judged = [_Signature(content, number, roots) for number in range(count)]

    def told(one: _Signature, texts: Iterable[str]) -> list[str]:
        return [f"signature {one.number + 1}: {text}" if count > 1 else text for text in texts]

    problems = [text for one in judged for text in told(one, one.findings.broken)]
    notes = [text for one in judged for text in told(one, one.findings.lacking)]
    last = judged[-1]
    covered = any(one.references.covers_document for one in judged)
    coverage = "the document" if covered else "a part"
    if not covered and not problems:
        problems.append("no signature covers the document")
    return Verdict(
        path, not problems, last.signer, coverage, "; ".join(problems), count, "; ".join(notes), level=last.level
    )


class _Signature:
    """One signature of a document, and what is wrong with it."""

    def __init__(self, content: bytes, number: int, roots: Sequence[bytes]) -> None:
        self.number = number
        self.references = References(content, number)
        self.findings = Findings()
        self.signer, self.level = "", "B"
        try:
            self._judge(signatures(content)[number], roots)
        except (LookupError, TypeError, ValueError, AttributeError) as problem:
            self.findings.broken.append(f"it cannot be read ({type(problem).__name__}: {problem})")

    def _judge(self, signature: "Element", roots: Sequence[bytes]) -> None:
        from asn1crypto import x509

        problems = self.findings.broken
        info = signature.find(f"{DS}SignedInfo")
        problems.extend(filter(None, map(self.references.problem, range(self.references.count))))
        if not any(one.get("Type") == SIGNED_PROPERTIES for one in info.iterfind(f"{DS}Reference")):
            problems.append("no reference covers its properties")
        qualifying = signature.find(f"{DS}Object/{XADES}QualifyingProperties")
        if qualifying is None or qualifying.get("Target") != f"#{signature.get('Id')}":
            problems.append("its properties name another signature")  # EN 319 132-1 4.3.1
        held = [
            b64decode(element.text) for element in signature.iterfind(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")
        ]
        leaf = self._named_certificate(signature, [x509.Certificate.load(der) for der in held])
        self.signer = name_of(leaf)
        self._check_value(signature, info, leaf)
        if problems:
            return
        properties = UnsignedProperties(signature, self.references.octets)
        reached = judge_levels(leaf.dump(), properties.read(held), roots)
        self.level = reached.level
        self.findings.add(reached.findings)
        if roots and not _leads_to(leaf, reached.certificates, roots, reached.signed_at):
            problems.append("the certificate does not lead to the root")

    def _named_certificate(self, signature: "Element", certificates: list[Any]) -> Any:
        """The certificate that SigningCertificateV2 names by its digest (EN 319 132-1 5.2.2).

        Only the properties that the signature covers are asked (`References`): anybody may add others.
        """
        signed = signature.find(f"{DS}Object/{XADES}QualifyingProperties/{XADES}SignedProperties")
        named = signed.find(
            f"{XADES}SignedSignatureProperties/{XADES}SigningCertificateV2/{XADES}Cert/{XADES}CertDigest"
        )
        name = DIGESTS[named.find(f"{DS}DigestMethod").get("Algorithm")]
        digest = b64decode(named.findtext(f"{DS}DigestValue"))
        found = [one for one in certificates if hashlib.new(name, one.dump()).digest() == digest]
        if not found:
            raise ValueError("the certificate that its properties name is not there")
        return found[0]

    def _check_value(self, signature: "Element", info: "Element", leaf: Any) -> None:
        from cryptography.exceptions import InvalidSignature

        form = info.find(f"{DS}CanonicalizationMethod").get("Algorithm")
        method = info.find(f"{DS}SignatureMethod").get("Algorithm")
        value = b64decode(signature.findtext(f"{DS}SignatureValue"))
        try:
            _verify(leaf.dump(), method, value, canonical(info, form))
        except InvalidSignature:
            self.findings.broken.append("the signature value is not right")


def _verify(certificate: bytes, method: str, value: bytes, data: bytes) -> None:
    """Raises InvalidSignature, or ValueError for an algorithm that is not known or does not fit the key (RFC 6931)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    known = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    key, name = x509.load_der_x509_certificate(certificate).public_key(), method.partition("#")[2]
    for text, digest in known.items():
        if isinstance(key, rsa.RSAPublicKey) and name == f"rsa-{text}":
            return key.verify(value, data, padding.PKCS1v15(), digest)
        if isinstance(key, rsa.RSAPublicKey) and name == f"{text}-rsa-MGF1":
            return key.verify(value, data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        if isinstance(key, ec.EllipticCurvePublicKey) and name == f"ecdsa-{text}":
            half = -(-key.curve.key_size // 8)
            if len(value) != 2 * half:
                raise ValueError(f"an ECDSA value of {len(value)} bytes")
            encoded = encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))
            return key.verify(encoded, data, ec.ECDSA(digest))
    raise ValueError(f"the algorithm {method} is not known, or not of this key")


def _leads_to(leaf: Any, certificates: Iterable[bytes], roots: Sequence[bytes], moment: datetime | None) -> bool:
    """Whether the certificate leads to a root, and was valid at `moment` (now). `certificates` may lead there."""
    from pyhanko_certvalidator import CertificateValidator
    from pyhanko_certvalidator.errors import PathBuildingError, PathValidationError

    trust = trust_in(roots, moment, certificates)
    try:
        asyncio.run(CertificateValidator(leaf, None, trust).async_validate_path())
    except (PathBuildingError, PathValidationError):
        return False
    return True
