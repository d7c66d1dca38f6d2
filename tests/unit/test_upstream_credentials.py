"""Reading `credentials/info`: which credentials are refused, and why. Also bearer tokens, at upstreams that check them badly."""

import base64
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from batchseal.errors import CredentialUnusable
from batchseal.upstream.interface import Account
from batchseal.upstream.keys import read_key
from batchseal.upstream.probe import Probe
from batchseal.upstream.tokens import CallersToken
from batchseal.upstream.wire import read_pin

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def certificate(key=None, year=2026):
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Seal")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime.datetime(year, 1, 1)).not_valid_after(datetime.datetime(year + 1, 1, 1))
    signed = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.DER)).decode()


GOOD = certificate()


def info(**changes):
    answer = {
        "key": {"status": "enabled", "algo": ["1.2.840.10045.4.3.2"], "len": 256},
        "cert": {"status": "valid", "certificates": [GOOD, GOOD]},
        "authMode": "implicit",
        "SCAL": "2",
        "multisign": 50,
    }
    return {**answer, **changes}


def test_a_usable_credential():
    key = read_key("c", info(), NOW)
    assert (key.multisign, key.grant_bound, key.needs_pin, key.digest_algorithm) == (50, True, False, None)
    assert key.credential.chain == (base64.b64decode(GOOD),) and key.credential.signature_bytes == 72


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": {"status": "disabled", "algo": ["1.2.840.10045.4.3.2"]}}, "key is disabled"),
        ({"key": {"status": "enabled", "algo": ["1.2.840.113549.1.1.11"]}}, "none of its algorithms"),
        ({"cert": {"status": "revoked", "certificates": [GOOD]}}, "certificate is revoked"),
        ({"cert": {"certificates": [certificate(year=2020)]}}, "is valid from 2020"),
        ({"cert": {"certificates": ["AAAA"]}}, "no certificate"),
        ({"cert": {"certificates": [None]}}, "no certificate"),
        ({"cert": {}}, "no certificate"),
        ({"cert": {"certificates": [certificate(ed25519.Ed25519PrivateKey.generate())]}}, "neither RSA nor EC"),
        ({"authMode": "oauth2code"}, "consent"),
        ({"authMode": "explicit", "OTP": {"presence": "true"}}, "one-time password"),
    ],
)
def test_one_that_cannot_sign_is_named_with_the_reason(changes, said):
    with pytest.raises(CredentialUnusable, match="'c': ") as refusal:
        read_key("c", info(**changes), NOW)
    assert said in refusal.value.cause


@pytest.mark.parametrize("presence", ["true", True])
def test_a_pin_is_read_from_its_file(tmp_path, presence):
    assert read_key("c", info(authMode="explicit", PIN={"presence": presence}), NOW).needs_pin
    assert not read_key("c", info(authMode="explicit", PIN={"presence": "false"}), NOW).needs_pin
    (tmp_path / "pin").write_text("1234\n")
    assert read_pin(Account("a", CallersToken(""), pin_file=tmp_path / "pin")) == "1234"
    for missing in (None, tmp_path / "no-such"):
        with pytest.raises(CredentialUnusable):
            read_pin(Account("a", CallersToken(""), pin_file=missing))


@pytest.mark.parametrize("multisign", [0, -1, None, "many"])
def test_a_senseless_multisign_is_one(multisign):
    assert read_key("c", info(multisign=multisign), NOW).multisign == 1


class Careless:
    """An upstream that accepts the tokens for which `takes` returns true."""

    def __init__(self, takes):
        self.takes, self.asked = takes, []

    async def accepts(self, token):
        self.asked.append(token)
        return self.takes(token)


JWT = "e30.eyJjbGllbnRfaWQiOiAiQSJ9.signature"


async def test_where_any_token_passes_none_is_taken():
    upstream: Any = Careless(lambda token: True)
    probe = Probe(upstream)
    assert await probe.client_service(JWT) is None and await probe.client_service("opaque") is None
    assert len(upstream.asked) == 1 and upstream.asked[0] not in (JWT, "opaque")


async def test_where_a_forged_signature_passes_none_is_taken():
    upstream: Any = Careless(lambda token: token.count(".") == 2)
    assert await Probe(upstream).client_service(JWT) is None


async def test_answers_are_remembered_for_a_while():
    upstream: Any = Careless(lambda token: token in (JWT, "opaque"))
    probe = Probe(upstream)
    for _ in range(3):
        assert await probe.client_service(JWT) == "A"
        assert await probe.client_service("opaque") == ""
        assert await probe.client_service("unknown") is None
    assert len(upstream.asked) == 5  # one random token, two for the JWT, one for each of the others


async def test_an_expired_token_is_not_even_asked_about():
    upstream: Any = Careless(lambda token: False)
    assert await Probe(upstream).client_service("e30.eyJleHAiOiAxfQ.sig") is None and upstream.asked == []
