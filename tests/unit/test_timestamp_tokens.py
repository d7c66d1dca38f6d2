"""A time stamp token must name the certificate that signed it. Whatever its attributes hold, it is judged without a crash."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from batchseal.errors import TimestampFailed
from batchseal.sandbox.authority import Authority, Signer
from batchseal.sandbox.timestamps import TimestampAuthority
from batchseal.upstream.timestamps import read_reply
from batchseal.upstream.trust import Roots

IMPRINT, NONCE = bytes(range(32)), 4711
Attributes = dict[str, list[object]]


def stamped(folder: Path, change: Callable[[Attributes, Signer], None]) -> bytes:
    """The token of a reply whose signed attributes `change` has altered; the authority's own key signed them afterwards."""
    signer = Authority(folder, "p256").timestamper()
    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": IMPRINT}
    request = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": NONCE, "cert_req": True})
    response = tsp.TimeStampResp.load(TimestampAuthority(signer).reply(request.dump()))
    token = response["time_stamp_token"]
    (info,) = token["content"]["signer_infos"]
    attributes = {attribute["type"].native: list(attribute["values"]) for attribute in info["signed_attrs"]}
    change(attributes, signer)
    signed = cms.CMSAttributes([cms.CMSAttribute({"type": n, "values": v}) for n, v in attributes.items()])
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    info["signed_attrs"] = signed
    info["signature"] = signer.key.sign(signed.dump(), ec.ECDSA(hashes.SHA256()))
    return read_reply(response.dump(force=True), IMPRINT, NONCE, Roots(str(folder / "root.pem")))


def certificate(signer: Signer, place: int) -> bytes:
    return signer.chain_der()[place]


def names(place: int, algorithm: str = "sha256") -> Callable[[Attributes, Signer], None]:
    """Lets the attribute of RFC 5035 name the certificate at that place of the chain."""

    def change(attributes: Attributes, signer: Signer) -> None:
        named: dict[str, Any] = {"cert_hash": hashlib.new(algorithm, certificate(signer, place)).digest()}
        if algorithm != "sha256":
            named["hash_algorithm"] = {"algorithm": algorithm}
        attributes["signing_certificate_v2"] = [tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2(named)]})]

    return change


def names_by_sha1(place: int) -> Callable[[Attributes, Signer], None]:
    """Lets the older attribute of RFC 2634 name it, which many authorities still send."""

    def change(attributes: Attributes, signer: Signer) -> None:
        del attributes["signing_certificate_v2"]
        named = tsp.ESSCertID({"cert_hash": hashlib.sha1(certificate(signer, place)).digest()})
        attributes["signing_certificate"] = [tsp.SigningCertificate({"certs": [named]})]

    return change


@pytest.mark.parametrize(
    "change", [lambda *_: None, names(0), names(0, "sha512"), names_by_sha1(0)], ids=["as is", "v2", "sha512", "v1"]
)
def test_a_token_that_names_its_signer_is_taken(tmp_path: Path, change: Callable[[Attributes, Signer], None]) -> None:
    token = cms.ContentInfo.load(stamped(tmp_path, change))
    assert asn1_x509.Certificate.load(Authority(tmp_path, "p256").timestamper().chain_der()[0]).dump() in token.dump()


@pytest.mark.parametrize("change", [names(1), names(1, "sha512"), names_by_sha1(1)], ids=["v2", "sha512", "v1"])
def test_a_token_that_names_another_certificate_is_none(
    tmp_path: Path, change: Callable[[Attributes, Signer], None]
) -> None:
    """Validators would refuse a document with such a token (RFC 3161 2.4.2, RFC 5035 3)."""
    with pytest.raises(TimestampFailed, match="name another certificate"):
        stamped(tmp_path, change)


def empty(name: str) -> Callable[[Attributes, Signer], None]:
    return lambda attributes, _: attributes.update({name: []})


def names_nothing(attributes: Attributes, signer: Signer) -> None:
    attributes["signing_certificate_v2"] = [tsp.SigningCertificateV2({"certs": []})]


@pytest.mark.parametrize(
    "change", [empty("content_type"), empty("message_digest"), empty("signing_certificate_v2"), names_nothing]
)
def test_an_empty_attribute_is_a_token_that_cannot_be_used(
    tmp_path: Path, change: Callable[[Attributes, Signer], None]
) -> None:
    with pytest.raises(TimestampFailed, match="cannot be used"):
        stamped(tmp_path, change)
