"""Which lists of revoked certificates count."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from batchseal.errors import CertificateRevoked, MaterialUnavailable
from batchseal.upstream import crl

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROOT_KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issued(name, key):
    made = x509.CertificateBuilder(named("Root"), named(name), key.public_key(), x509.random_serial_number())
    return made.not_valid_before(NOW - DAY).not_valid_after(NOW + 400 * DAY).sign(ROOT_KEY, hashes.SHA256())


ROOT, LEAF = issued("Root", ROOT_KEY), issued("Seal", OTHER_KEY)


def a_list(*serials, key=ROOT_KEY, issuer="Root", begins=NOW - HOUR, ends=NOW + HOUR, extension=None):
    made = x509.CertificateRevocationListBuilder(named(issuer), begins, ends)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
        made = made.add_revoked_certificate(entry.build())
    if extension is not None:
        made = made.add_extension(extension, critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def published_at(*addresses):
    """Names of a distribution point."""
    return [x509.UniformResourceIdentifier(address) for address in addresses]


def only(**scope):
    others = dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "only_contains_attribute_certs"), False
    )
    return x509.IssuingDistributionPoint(
        None, None, **{**others, "only_some_reasons": None, "indirect_crl": False, **scope}
    )


def judged(data):
    return crl.judge(data, LEAF, ROOT, NOW)


def test_a_list_without_the_certificate_counts_until_its_next_update():
    assert judged(a_list(LEAF.serial_number + 1)) == NOW + HOUR
    assert judged(a_list(begins=NOW - 80 * DAY, ends=NOW + 10 * DAY)) == NOW + 10 * DAY
    assert judged(a_list(extension=only(only_contains_user_certs=True))) == NOW + HOUR


def test_a_list_with_the_certificate_revokes_it():
    with pytest.raises(CertificateRevoked, match="CN=Seal was revoked on 2030-05-31"):
        judged(a_list(7, LEAF.serial_number))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (a_list(LEAF.serial_number, key=OTHER_KEY), "not signed by the issuer"),
        (a_list(issuer="Other"), "another issuer"),
        (a_list(begins=NOW + HOUR, ends=NOW + DAY), "of the future"),
        (a_list(begins=NOW - 2 * DAY, ends=NOW - DAY), "too old"),
        (a_list(extension=x509.DeltaCRLIndicator(3)), "only changes"),
        (a_list(extension=only(only_contains_ca_certs=True)), "other certificates"),
        (a_list(extension=only(indirect_crl=True)), "other certificates"),
        (a_list(extension=only(only_some_reasons=frozenset([x509.ReasonFlags.superseded]))), "some reasons"),
        (b"", "cannot be read: it is empty"),
        (b"<html>", "cannot be read: it looks like an HTML"),
        (a_list()[:-3], "cannot be read"),
        (b"\x30\x80" * 20_000, "cannot be read"),
    ],
)
def test_a_list_that_does_not_count_is_no_verdict(data, cause):
    with pytest.raises(MaterialUnavailable, match=cause):
        judged(data)


HERE, ELSEWHERE = "http://a.example/1.crl", "http://a.example/2.crl"


@pytest.mark.parametrize(("listed", "counts"), [((HERE,), True), ((ELSEWHERE, HERE), True), ((ELSEWHERE,), False)])
def test_a_list_for_another_place_does_not_count(listed, counts):
    """An issuer that cuts its list into several writes into each for which certificates it is."""
    point = x509.DistributionPoint(published_at(HERE), None, None, None)
    made = x509.CertificateBuilder(named("Root"), named("Seal"), OTHER_KEY.public_key(), x509.random_serial_number())
    made = made.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    leaf = made.add_extension(x509.CRLDistributionPoints([point]), False).sign(ROOT_KEY, hashes.SHA256())
    scope = x509.IssuingDistributionPoint(published_at(*listed), None, False, False, None, False, False)
    if counts:
        assert crl.judge(a_list(extension=scope), leaf, ROOT, NOW) == NOW + HOUR
    else:
        with pytest.raises(MaterialUnavailable, match="another place"):
            crl.judge(a_list(extension=scope), leaf, ROOT, NOW)
