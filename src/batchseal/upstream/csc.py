"""CSC v1.0.4 (Cloud Signature Consortium API) over JSON, with OAuth2 client credentials: one method, one call."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from batchseal.errors import (
    CredentialUnusable,
    OutcomeUnknown,
    UpstreamAuthExpired,
    UpstreamAuthRefused,
    UpstreamPermanent,
)
from batchseal.upstream.answers import JsonObject
from batchseal.upstream.interface import Account, Description, Grant, RemoteKey
from batchseal.upstream.keys import read_key
from batchseal.upstream.transport import Transport

BASE_PATH = "/csc/v1/"
BODY_BYTES = 1 << 20  # what real servers take where they say nothing
MAX_PAGES = 100
CALL_SECONDS = 30.0
SIGN_SECONDS, SIGN_SECONDS_PER_DIGEST = 60.0, 0.05
ANSWER_BYTES, ANSWER_BYTES_PER_DIGEST = 1 << 20, 2048


class CscV1:
    """A `SigningService`. `address` is the service's base, below which /csc/v1/ lies."""

    def __init__(self, transport: Transport, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._transport = transport
        self._now = now

    async def describe(self) -> Description:
        answer = await self._transport.post(
            BASE_PATH + "info", json={}, authorization="", deadline_seconds=CALL_SECONDS
        )
        methods = answer.get("methods")
        return Description(
            name=str(answer.get("name", "")),
            specification=str(answer.get("specs", "")),
            methods=frozenset(m for m in methods if isinstance(m, str)) if isinstance(methods, list) else frozenset(),
            body_bytes=BODY_BYTES,
        )

    async def credentials(self, account: Account) -> list[str]:
        found: list[str] = []
        body: JsonObject = {"maxResults": 100}
        for _ in range(MAX_PAGES):
            answer = await self._call(account, "credentials/list", body)
            page = answer.get("credentialIDs")
            if not isinstance(page, list) or not all(isinstance(name, str) for name in page):
                raise UpstreamPermanent("credentials/list: the answer holds no credentialIDs")
            found += [name for name in page if name not in found]
            next_page = answer.get("nextPageToken")
            if not next_page or not page:
                break
            body = {"maxResults": 100, "pageToken": next_page}
        return found

    async def key(self, account: Account, credential_id: str) -> RemoteKey:
        body = {"credentialID": credential_id, "certificates": "chain", "certInfo": False, "authInfo": True}
        answer = await self._call(account, "credentials/info", body)
        return read_key(credential_id, answer, self._now())

    async def authorize(self, account: Account, key: RemoteKey, digests: Sequence[bytes], *, request_key: str) -> Grant:
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            "numSignatures": len(digests),
            "hash": encode(digests),
            "clientData": request_key,
        }
        if key.needs_pin:
            body["PIN"] = read_pin(account)
        return read_grant("credentials/authorize", await self._call(account, "credentials/authorize", body))

    async def extend(self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes]) -> Grant:
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            "hash": encode(digests),
            "SAD": grant.value,
        }
        answer = await self._call(account, "credentials/extendTransaction", body)
        return read_grant("credentials/extendTransaction", answer)

    async def sign(
        self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes], *, request_key: str
    ) -> list[bytes]:
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            "SAD": grant.value,
            "hash": encode(digests),
            "signAlgo": key.sign_algorithm,
            "clientData": request_key,
        }
        if key.digest_algorithm:
            body["hashAlgo"] = key.digest_algorithm
        # Made once even after a 401: each call counts as a try of every document in it.
        answer = await self._call(
            account,
            "signatures/signHash",
            body,
            calls=1,
            deadline_seconds=SIGN_SECONDS + SIGN_SECONDS_PER_DIGEST * len(digests),
            max_answer_bytes=ANSWER_BYTES + ANSWER_BYTES_PER_DIGEST * len(digests),
        )
        values = answer.get("signatures")
        if not isinstance(values, list):
            raise UpstreamPermanent("signatures/signHash: the answer holds no signatures")
        return [decode(value) for value in values[: len(digests)]]

    async def accepts(self, token: str) -> bool:
        try:
            await self._transport.post(
                BASE_PATH + "credentials/list",
                json={"maxResults": 1},
                authorization=f"Bearer {token}",
                deadline_seconds=CALL_SECONDS,
            )
        except (UpstreamAuthExpired, UpstreamAuthRefused, UpstreamPermanent):
            return False
        return True

    async def close(self) -> None:
        await self._transport.close()

    async def _call(
        self,
        account: Account,
        method: str,
        body: JsonObject,
        *,
        calls: int = 2,
        deadline_seconds: float = CALL_SECONDS,
        max_answer_bytes: int = 4 << 20,
    ) -> JsonObject:
        """A call with the account's token; once more after a 401, with a fresh one, or after an answer that was lost, where
        `calls` allows it.
        """
        while True:
            calls -= 1
            token = await account.tokens.token()
            try:
                return await self._transport.post(
                    BASE_PATH + method,
                    json=body,
                    authorization=f"Bearer {token}",
                    deadline_seconds=deadline_seconds,
                    max_answer_bytes=max_answer_bytes,
                )
            except UpstreamAuthExpired as problem:
                if not account.tokens.reject(token):
                    raise UpstreamAuthRefused(problem.cause) from None
                if not calls:
                    raise
            except OutcomeUnknown:
                if not calls:
                    raise


def encode(digests: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(digest).decode() for digest in digests]


def decode(value: Any) -> bytes:
    """A signature value; what is not base64 becomes empty, which verifies for nothing."""
    try:
        return base64.b64decode(value)
    except (TypeError, ValueError, binascii.Error):
        return b""


def read_grant(method: str, answer: JsonObject) -> Grant:
    value, lifetime = answer.get("SAD"), answer.get("expiresIn")
    if not isinstance(value, str) or not value:
        raise UpstreamPermanent(f"{method}: the answer holds no SAD")
    return Grant(value, float(lifetime) if isinstance(lifetime, int | float) else 3600.0)


def read_pin(account: Account) -> str:
    if account.pin_file is None:
        raise CredentialUnusable("the credential needs a PIN, and the client service names no pinFile")
    try:
        return account.pin_file.read_text("utf-8").strip()
    except (OSError, ValueError) as problem:
        raise CredentialUnusable(f"the PIN cannot be read from {account.pin_file}: {type(problem).__name__}") from None
