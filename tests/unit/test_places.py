"""Which addresses of a certificate are used."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID as Access
from cryptography.x509.oid import NameOID

from batchseal.upstream.places import MOST, Places, places_of

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Seal")])
NOW = datetime(2030, 6, 1, tzinfo=UTC)


def uri(text):
    return x509.UniformResourceIdentifier(text)


def naming(*extensions):
    made = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1)
    made = made.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    for extension in extensions:
        made = made.add_extension(extension, critical=False)
    return made.sign(KEY, hashes.SHA256())


def access(*pairs):
    return x509.AuthorityInformationAccess([x509.AccessDescription(method, uri(text)) for method, text in pairs])


def point(*texts, reasons=None):
    return x509.DistributionPoint([uri(text) for text in texts], None, reasons, None)


def test_each_kind_is_found_and_hosts_are_listed_for_a_firewall():
    found = places_of(
        naming(
            access((Access.OCSP, "http://ocsp.example/a"), (Access.CA_ISSUERS, "https://ca.example/i.crt")),
            x509.CRLDistributionPoints(
                [
                    point("ldap://ca.example/c", "http://[2001:db8::1]:8080/c.crl"),
                    point("http://ca.example/some.crl", reasons=frozenset([x509.ReasonFlags.superseded])),
                ]
            ),
        )
    )
    assert found == Places(
        ("http://ocsp.example/a",), ("http://[2001:db8::1]:8080/c.crl",), ("https://ca.example/i.crt",)
    )
    assert found.hosts == {"ocsp.example:80", "ca.example:443", "[2001:db8::1]:8080"}


def test_a_certificate_without_addresses_has_no_places():
    assert places_of(naming()) == Places()


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "http://",
        "http://user:pw@host/",
        "http://host:99999/",
        "http://[::1/",
        "http://a b/",
        "http://a/\r\nX: y",
        "http://a/" + "x" * 3000,
    ],
)
def test_an_address_that_is_no_plain_http_address_is_left_out(text):
    assert places_of(naming(access((Access.OCSP, text)))) == Places()


def test_few_of_many_addresses_are_used():
    many = [(Access.OCSP, f"http://host{number}.example/") for number in range(1000)]
    assert len(places_of(naming(access(*many))).ocsp) == MOST
