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


def reply_of(folder: Path, change: Callable[[tsp.TimeStampResp, Signer], None]) -> bytes:
    """A reply of the sandbox's authority that `change` has altered."""
    signer = Authority(folder, "p256").timestamper()
    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": IMPRINT}
    request = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": NONCE, "cert_req": True})
    response = tsp.TimeStampResp.load(TimestampAuthority(signer).reply(request.dump()))
    change(response, signer)
    return bytes(response.dump(force=True))


def signed_with_sha1(response: tsp.TimeStampResp, signer: Signer) -> None:
    """A token as old authorities still send it: its digests and its signature use SHA-1 throughout."""
    signed = response["time_stamp_token"]["content"]
    (info,) = signed["signer_infos"]
    info["digest_algorithm"] = {"algorithm": "sha1"}
    content = hashlib.sha1(bytes(signed["encap_content_info"]["content"])).digest()
    attributes = {attribute["type"].native: list(attribute["values"]) for attribute in info["signed_attrs"]}
    attributes["message_digest"] = [content]
    changed = cms.CMSAttributes([cms.CMSAttribute({"type": n, "values": v}) for n, v in attributes.items()])
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    info["signed_attrs"] = changed
    info["signature"] = signer.key.sign(changed.dump(), ec.ECDSA(hashes.SHA1()))


def signed_twice(response: tsp.TimeStampResp, _: Signer) -> None:
    infos = response["time_stamp_token"]["content"]["signer_infos"]
    other = infos[0].copy()
    other["signature"] = b"another"
    infos.append(other)


def spoiled(response: tsp.TimeStampResp, _: Signer) -> None:
    (info,) = response["time_stamp_token"]["content"]["signer_infos"]
    info["signature"] = bytes(8)


def rejected(response: tsp.TimeStampResp, _: Signer) -> None:
    response["status"]["status"] = "rejection"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (signed_with_sha1, "the token is signed with SHA1; only SHA-256, SHA-384 and SHA-512 are accepted"),
        (signed_twice, "the token has 2 signatures instead of one"),
        (spoiled, "the token's signature does not verify"),
        (rejected, "the authority answered rejection"),
    ],
)
def test_a_token_is_refused_in_words(
    tmp_path: Path, change: Callable[[tsp.TimeStampResp, Signer], None], said: str
) -> None:
    data = reply_of(tmp_path, change)
    with pytest.raises(TimestampFailed) as refused:
        read_reply(data, IMPRINT, NONCE, Roots(str(tmp_path / "root.pem")))
    assert refused.value.cause == said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "it looks like an HTML or XML page"),
        (b"\xef\xbb\xbf\r\n <html/>", "it looks like an HTML or XML page"),
        (b"Too many requests", "it looks like text"),
        (b"", "it is empty"),
        (b"\x30\x82\xff\xff\x00", "the answer is not a time stamp reply (RFC 3161)"),
        (b"\x30\x80" * 5_000, "the answer is not a time stamp reply (RFC 3161)"),
        (b"\x30\x03\x02\x01\x00", "the answer is not a time stamp reply (RFC 3161)"),
        (b"\x30\x05\x30\x03\x02\x01\x00", "the reply holds no token"),
        (b"\x30\x05\x30\x03\x02\x01\x02", "the authority answered rejection"),
        (b"\x30\x09\x30\x07\x02\x01\x02\x03\x02\x05\x20", "the authority answered rejection bad_request"),
        (b"\x30\x84\x7f\xff\xff\xff", "the answer is not a time stamp reply (RFC 3161)"),
    ],
)
def test_what_is_no_time_stamp_reply_is_refused_in_words(tmp_path: Path, data: bytes, said: str) -> None:
    Authority(tmp_path, "p256")
    with pytest.raises(TimestampFailed) as refused:
        read_reply(data, IMPRINT, NONCE, Roots(str(tmp_path / "root.pem")))
    assert said in refused.value.cause
    assert "Error" not in refused.value.cause


@pytest.mark.parametrize("data", [b"", b"no request", b"\x30\x03\x02\x01\x01"])
def test_the_sandbox_rejects_what_is_no_request(tmp_path: Path, data: bytes) -> None:
    signer = Authority(tmp_path, "p256").timestamper()
    reply = TimestampAuthority(signer).reply(data)
    with pytest.raises(TimestampFailed, match="the authority answered rejection bad_data_format"):
        read_reply(reply, IMPRINT, NONCE, Roots(str(tmp_path / "root.pem")))


def test_every_cut_and_every_changed_byte_of_a_reply_is_taken_or_refused_in_words(tmp_path: Path) -> None:
    data = reply_of(tmp_path, lambda *_: None)
    roots = Roots(str(tmp_path / "root.pem"))
    places = range(0, len(data), 7)
    for hostile in [data[:at] for at in places] + [data[:at] + b"\xff" + data[at + 1 :] for at in places]:
        assert "Error" not in refusal_of(hostile, roots)


def refusal_of(data: bytes, roots: Roots) -> str:
    """Why the reply is refused; "" if it is taken."""
    try:
        read_reply(data, IMPRINT, NONCE, roots)
    except TimestampFailed as refused:
        return refused.cause
    return ""
