"""The certificates of a time stamp token are found by its lengths, as asn1crypto finds them, and never in another place."""

import hashlib
from functools import cache

import pytest
from asn1crypto import algos, cms, core, keys, tsp
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from harness.validators.local_signer import local_signer
from pyhanko.sign.timestamps import DummyTimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from batchseal.errors import ItemRejected
from batchseal.formats.token import chain_of


@cache
def stamp() -> bytes:
    one = local_signer()
    der = one.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    store = SimpleCertificateStore.from_certs([one.certificate])
    imprint = {"hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}), "hashed_message": bytes(32)}
    asked = {"version": 1, "message_imprint": tsp.MessageImprint(imprint), "cert_req": True, "nonce": 1}
    stamper = DummyTimeStamper(one.certificate, keys.PrivateKeyInfo.load(der), store)
    return bytes(stamper.request_tsa_response(tsp.TimeStampReq(asked))["time_stamp_token"].dump())


def chain() -> tuple[bytes, ...]:
    return (local_signer().certificate.dump(),)


def changed(**fields: object) -> bytes:
    info = cms.ContentInfo.load(stamp()).copy()
    for name, value in fields.items():
        info["content"][name] = value
    return bytes(info.dump(force=True))


def test_its_signer_leads_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stamp()
    monkeypatch.setattr(cms.ContentInfo, "load", lambda der: pytest.fail("the whole token was parsed"))
    assert chain_of(whole) == chain()


def test_a_list_of_what_is_revoked_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    other = cms.OtherRevocationInfoFormat({"other_rev_info_format": "1.2.3", "other_rev_info": core.Integer(1)})
    with_list = changed(crls=[cms.RevocationInfoChoice("other", other)])
    monkeypatch.setattr(cms.ContentInfo, "load", lambda der: pytest.fail("the whole token was parsed"))
    assert chain_of(with_list) == chain()


def test_a_token_without_certificates_or_with_two_signers_is_refused() -> None:
    signer = cms.ContentInfo.load(stamp())["content"]["signer_infos"][0]
    signer = cms.SignerInfo.load(signer.dump())
    other = signer.copy()
    other["version"] = "v3"
    with pytest.raises(ItemRejected):
        chain_of(changed(certificates=[]))
    with pytest.raises(ItemRejected):
        chain_of(changed(signer_infos=[signer, other]))


def test_a_token_in_ber_has_the_same_chain() -> None:
    info = cms.ContentInfo.load(stamp())
    content = b"\x30\x80" + info["content"].contents + b"\x00\x00"
    ber = b"\x30\x80" + info["content_type"].dump() + b"\xa0\x80" + content + b"\x00\x00" + b"\x00\x00"
    assert chain_of(ber) == chain()


def test_a_token_that_is_cut_or_changed_gives_no_other_certificate() -> None:
    """Whatever one byte becomes: its chain is refused, or consists of certificates that stand in it."""
    whole = stamp()
    for at in range(0, len(whole), 7):
        for damaged in (whole[:at], whole[:at] + hashlib.sha256(whole[:at]).digest()[:1] + whole[at + 1 :]):
            try:
                found = chain_of(damaged)
            except ItemRejected:
                continue
            assert found and all(one in damaged for one in found)
