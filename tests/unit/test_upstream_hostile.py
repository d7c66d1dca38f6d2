"""Whatever JSON a signing service answers, each call of the provider ends with a value or with an UpstreamError."""

import base64
import datetime
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from batchseal.errors import UpstreamError
from batchseal.settings.client_services import ClientService
from batchseal.upstream.csc import Csc
from batchseal.upstream.interface import Account, Grant, Handle
from batchseal.upstream.keys import read_key
from batchseal.upstream.tokens import CallersToken, ClientCredentials

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
DIGESTS = [bytes([n]) * 32 for n in range(3)]
ACCOUNT = Account("a", CallersToken("t"), name="a")


def certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Seal")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime.datetime(2026, 1, 1)).not_valid_after(datetime.datetime(2027, 1, 1))
    return base64.b64encode(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)).decode()


CERTIFICATE = certificate()
# Its first date is that of no calendar, which shows only when the date is asked for.
WEIRD = base64.b64encode(base64.b64decode(CERTIFICATE).replace(b"260101000000Z", b"269901000000Z")).decode()
GOOD: dict[str, Any] = {
    **{"key": {"algo": ["1.2.840.10045.4.3.2"]}, "cert": {"certificates": [CERTIFICATE]}, "SCAL": "2", "multisign": 5},
    **{
        "access_token": "t",
        "expires_in": 60,
        "SAD": "g",
        "expiresIn": 60,
        "credentialIDs": ["c"],
        "signatures": ["AAAA"],
    },
    **{"name": "n", "specs": "2.0", "methods": ["info"], "signAlgorithms": {"algos": ["1.2.840.10045.4.3.2"]}},
}
KEY = read_key("c", GOOD, NOW)
HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, -5, 2**63, 10**400, -(10**400), 0.5, 1e308, -1e308),
    *("", "A", "MAAA", "é\0", "explicit", "x" * 10_000, CERTIFICATE, [], {}, [[]], [None], [10**400], ["MAAA"], [{}]),
    *({"certificates": {}}, {"certificates": 5}, {"certificates": [10**400]}, {"certificates": ["MAAA"] * 50}),
    *({"certificates": [WEIRD]}, {"certificates": [CERTIFICATE, WEIRD]}),
    *(
        {"objects": 5},
        {"objects": {"a": 1}},
        {"objects": [5]},
        {"mode": []},
        {"mode": "explicit", "objects": [{"id": {}}]},
    ),
    *({"algo": 10**400}, {"algo": [[]]}, {"algo": {}}, {"algos": [[]]}, {"status": []}, {"presence": []}),
]
FIELDS = [
    *("key", "cert", "auth", "authMode", "PIN", "OTP", "SCAL", "multisign", "credentialIDs", "nextPageToken", "SAD"),
    *("expiresIn", "expires_in", "access_token", "signatures", "responseID", "requestID", "methods", "signAlgorithms"),
    *("name", "specs", "asynchronousOperationMode"),
]
# A good answer with one field that holds anything.
ANSWERS = [GOOD, {}, *(GOOD | {field: value} for field in FIELDS for value in HOSTILE)]


class Answering:
    """Takes the place of the `Transport`: each call gets the same answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    async def post(self, path: str, **_: Any) -> dict[str, Any]:
        return self.answer


Call = Callable[[Csc], Coroutine[Any, Any, object]]
CALLS: dict[str, Call] = {
    "info": lambda csc: csc.describe(),
    "credentials/list": lambda csc: csc.credentials(ACCOUNT),
    "credentials/info": lambda csc: csc.key(ACCOUNT, "c"),
    "credentials/authorize": lambda csc: csc.authorize(ACCOUNT, KEY, DIGESTS, request_key="r"),
    "credentials/extendTransaction": lambda csc: csc.extend(ACCOUNT, KEY, Grant("g", 10.0), DIGESTS),
    "signatures/signHash": lambda csc: csc.sign(ACCOUNT, KEY, Grant("g", 10.0), DIGESTS, request_key="r"),
    "signatures/signPolling": lambda csc: csc.poll(ACCOUNT, Handle("responseID", "h", 3, 10.0)),
}


async def typed(call: Coroutine[Any, Any, object]) -> UpstreamError | None:
    """Awaits `call` and returns its UpstreamError, or None for a value. Any other error is that of the test."""
    try:
        await call
    except UpstreamError as problem:
        return problem
    return None


@pytest.mark.parametrize("protocol", ["csc1", "csc2"])
@pytest.mark.parametrize("call", CALLS)
async def test_any_answer_is_a_value_or_a_typed_error(call: str, protocol: str) -> None:
    for answer in ANSWERS:
        csc = Csc(Answering(answer), protocol=protocol, now=lambda: NOW)  # type: ignore[arg-type]
        problem = await typed(CALLS[call](csc))
        assert problem is None or (problem.cause and "Error" not in problem.cause), answer


async def test_any_answer_of_the_token_address_is_a_token_or_a_typed_error() -> None:
    for answer in ANSWERS:
        source = ClientCredentials(Answering(answer), ClientService("a", "s"))  # type: ignore[arg-type]
        token = answer.get("access_token")
        usable = isinstance(token, str) and token.isascii() and token.isprintable() and token != ""
        assert (await typed(source.token()) is None) == usable, answer
