"""Which OCSP answers count. The answers are made by `cryptography`, so that the writer is not the reader."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp as builder
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from batchseal.errors import CertificateRevoked, MaterialUnavailable
from batchseal.upstream import ocsp

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def issued(name, key, issuer=None, issuer_key=None, *, purposes=(), days=400):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(issuer.subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW - HOUR + timedelta(days=days))
    )
    if purposes:
        made = made.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return made.sign(issuer_key or key, hashes.SHA256())


ROOT_KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
ROOT = issued("Root", ROOT_KEY)
LEAF, NEIGHBOUR = (issued(name, OTHER_KEY, ROOT, ROOT_KEY) for name in ("Seal", "Neighbour"))
RIGHT = [ExtendedKeyUsageOID.OCSP_SIGNING]
RESPONDER = issued("Responder", OTHER_KEY, ROOT, ROOT_KEY, purposes=RIGHT)


def answer(
    *,
    about=LEAF,
    responder=ROOT,
    key=ROOT_KEY,
    begins=NOW - HOUR,
    ends=NOW + DAY,
    status=builder.OCSPCertStatus.GOOD,
    by_key=False,
    digest=None,
):
    revoked = status is builder.OCSPCertStatus.REVOKED
    made = builder.OCSPResponseBuilder().add_response(
        about, ROOT, digest or hashes.SHA1(), status, begins, ends, NOW - DAY if revoked else None, None
    )
    encoding = builder.OCSPResponderEncoding.HASH if by_key else builder.OCSPResponderEncoding.NAME
    made = made.responder_id(encoding, responder)
    if responder is not ROOT:
        made = made.certificates([responder])
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def judged(data):
    return ocsp.judge(data, LEAF, ROOT, NOW)


def test_the_request_names_the_certificate():
    asked = builder.load_der_ocsp_request(ocsp.request_for(LEAF, ROOT))
    expected = builder.OCSPRequestBuilder().add_certificate(LEAF, ROOT, hashes.SHA1()).build()
    assert asked.serial_number == LEAF.serial_number
    assert asked.issuer_name_hash == expected.issuer_name_hash
    assert asked.issuer_key_hash == expected.issuer_key_hash


@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()])
def test_the_issuer_answers_itself(by_key, digest):
    data = answer(by_key=by_key, digest=digest)
    assert judged(data) == ocsp.GoodAnswer(data, NOW + DAY, None)


def test_a_responder_that_the_issuer_has_named_belongs_to_the_material():
    good = judged(answer(responder=RESPONDER, key=OTHER_KEY, ends=NOW + HOUR))
    assert good.responder == RESPONDER.public_bytes(serialization.Encoding.DER)
    assert good.until == NOW + HOUR


def test_an_answer_that_was_made_for_a_week_counts_on_its_last_day():
    assert judged(answer(begins=NOW - 6 * DAY, ends=NOW + DAY)).until == NOW + DAY


def test_without_next_update_it_counts_for_the_difference_of_clocks():
    """Newer ones are there all the time, so it proves nothing of a later signature."""
    assert judged(answer(begins=NOW - MINUTE, ends=None)).until == NOW - MINUTE + ocsp.CLOCK


@pytest.mark.parametrize("status", [builder.OCSPCertStatus.REVOKED, builder.OCSPCertStatus.UNKNOWN])
def test_revoked_and_unknown_are_said_by_the_responder(status):
    with pytest.raises(CertificateRevoked, match=r"CN=Seal (was revoked|is unknown)"):
        judged(answer(status=status))


NO_RIGHT = issued("No right", OTHER_KEY, ROOT, ROOT_KEY, purposes=[ExtendedKeyUsageOID.TIME_STAMPING])
NO_PURPOSE = issued("No purpose", OTHER_KEY, ROOT, ROOT_KEY)
STRANGER = issued("Stranger", OTHER_KEY, purposes=RIGHT)
EXPIRED = issued("Expired", OTHER_KEY, ROOT, ROOT_KEY, purposes=RIGHT, days=0)


RIGHTLESS, UNREADABLE = "who has no right to", "cannot be read"
TRY_LATER = builder.OCSPResponseBuilder.build_unsuccessful(builder.OCSPResponseStatus.TRY_LATER)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (answer(responder=NO_RIGHT, key=OTHER_KEY), RIGHTLESS),
        (answer(responder=NO_PURPOSE, key=OTHER_KEY), RIGHTLESS),
        (answer(responder=STRANGER, key=OTHER_KEY), RIGHTLESS),
        (answer(responder=EXPIRED, key=OTHER_KEY), "is not valid now"),
        (answer(responder=issued("Root", OTHER_KEY), key=OTHER_KEY), "does not verify"),
        (answer(about=NEIGHBOUR), "about another certificate"),
        (answer(about=NEIGHBOUR, status=builder.OCSPCertStatus.REVOKED), "about another certificate"),
        (answer(begins=NOW - 3 * DAY, ends=NOW - DAY), "too old"),
        (answer(ends=None), "too old"),  # made an hour ago, and there are newer ones
        (answer(begins=NOW + HOUR, ends=NOW + DAY), "of the future"),
        (TRY_LATER.public_bytes(serialization.Encoding.DER), "answered try_later"),
        (b"", "it is empty"),
        (b"<html>busy</html>", "looks like an HTML"),
        (answer()[:-40], UNREADABLE),
        (answer() + b"\0", UNREADABLE),
        (b"\x30\x80" * 20_000, UNREADABLE),
        (b"\x30\x84\xff\xff\xff\xff", UNREADABLE),
        (bytes(ocsp.MAX_ANSWER_BYTES + 1), "larger than"),
    ],
)
def test_an_answer_that_does_not_count_is_no_verdict(data, cause):
    with pytest.raises(MaterialUnavailable, match=cause):
        judged(data)
