"""A `SigningService` that speaks the API of the Cloud Signature Consortium (CSC) v1.0.4 and v2: JSON over HTTP.

Finds out which version the server speaks, unless the settings name it. Each method makes one call; `_call` repeats it at most
once. Real servers deviate from the standard; such deviations are accepted where that does no harm (see `poll` and `answers`).
Leaves connections to `transport`, bearer tokens to `tokens`, the fields of messages to `wire` and `keys`, and batches,
verification and retries to `lane` and `remote`.
"""

import asyncio
import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from batchseal.errors import (
    CallRejected,
    CredentialUnusable,
    GrantExpired,
    OutcomeUnknown,
    UpstreamAuthExpired,
    UpstreamAuthRefused,
    UpstreamPermanent,
)
from batchseal.settings.load import Settings
from batchseal.upstream.answers import JsonObject, refusing
from batchseal.upstream.interface import Account, Description, Grant, Handle, RemoteKey
from batchseal.upstream.keys import DIGEST_OIDS, read_key
from batchseal.upstream.transport import Transport
from batchseal.upstream.wire import encode, encode_for_urls, read_grant, read_pin, read_signatures

PENDING = re.compile(r"previous request|pending|not (yet )?ready|in progress|being processed")
BODY_BYTES = 1 << 20  # the size of request that real servers accept if they state no limit
MAX_PAGES = 100  # of `credentials/list`
CALL_SECONDS = 30.0
SIGN_SECONDS, SIGN_SECONDS_PER_DIGEST = 60.0, 0.05
ANSWER_BYTES, ANSWER_BYTES_PER_DIGEST = 1 << 20, 2048


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names that differ between the versions of the API: the path, and two fields of requests."""

    path: str
    digests: str
    digest_algorithm: str


DIALECTS = {
    "csc1": Dialect("/csc/v1/", "hash", "hashAlgo"),
    "csc2": Dialect("/csc/v2/", "hashes", "hashAlgorithmOID"),
}


class Csc:
    """A `SigningService`. The transport's address is the base address of the service; /csc/v1/ or /csc/v2/ follows it.

    `protocol` is a key of DIALECTS, or "auto" for the first version that the server answers. `digests` is "base64", or
    "urlencoded" for servers that want the base64 text percent-encoded. `pss` chooses RSASSA-PSS if the key offers it.
    `seconds` is the timeout of a sign call, to which SIGN_SECONDS_PER_DIGEST is added for each digest.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        protocol: str = "auto",
        digests: str = "base64",
        pss: bool = False,
        seconds: float = SIGN_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transport = transport
        self._dialects = [DIALECTS[protocol]] if protocol in DIALECTS else list(DIALECTS.values())
        self._dialect = self._dialects[0] if len(self._dialects) == 1 else None
        self._encode = encode_for_urls if digests == "urlencoded" else encode
        self._seconds = seconds
        self._pss = pss
        self._now = now
        self._asynchronous = self._refuses_mode_a = self._has_info = False

    async def describe(self) -> Description:
        with refusing(OutcomeUnknown, "info: the answer cannot be read"):
            return self._description(await self._info())

    def _description(self, answer: JsonObject) -> Description:
        methods, algorithms = answer.get("methods"), answer.get("signAlgorithms")  # signAlgorithms: in version 2 only
        offered = algorithms.get("algos") if isinstance(algorithms, dict) else None
        return Description(
            name=str(answer.get("name", "")),
            specification=str(answer.get("specs", "")),
            methods=frozenset(m for m in methods if isinstance(m, str)) if isinstance(methods, list) else frozenset(),
            body_bytes=BODY_BYTES,
            asynchronous=self._asynchronous,
            algorithms=frozenset(a for a in offered if isinstance(a, str))
            if isinstance(offered, list)
            else frozenset(),
        )

    async def _info(self) -> JsonObject:
        """Calls `info`, and notes the version of the API that answered.

        Only a permanent refusal, such as 404 for the path, leads to the next version. Raises UpstreamError.
        """
        for dialect in self._dialects if self._dialect is None else [self._dialect]:
            try:
                answer = await self._transport.post(
                    dialect.path + "info", json={}, authorization="", deadline_seconds=CALL_SECONDS
                )
            except UpstreamPermanent:
                if dialect is self._dialects[-1]:
                    raise
                continue
            except UpstreamAuthExpired as refused:
                # `info` sends no token. Some outbound proxies answer a wrong proxy password with 401 instead of 407.
                raise UpstreamAuthRefused(refused.cause) from None
            self._dialect, self._has_info = dialect, True
            mode = str(answer.get("asynchronousOperationMode", ""))
            self._asynchronous = mode.upper() == "A" and not self._refuses_mode_a
            return answer
        raise AssertionError("no dialect")

    async def _find_dialect(self) -> Dialect:
        """The server's version of the API. Calls `info` first if the version, or the operation mode of version 2, is unknown."""
        if self._dialect is None or (self._dialect is DIALECTS["csc2"] and not self._has_info):
            await self._info()
        assert self._dialect is not None
        return self._dialect

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
        with refusing(
            CredentialUnusable, f"credential {credential_id!r}: what the signing service says of it cannot be read"
        ):
            return read_key(credential_id, answer, self._now(), pss=self._pss)

    async def authorize(
        self,
        account: Account,
        key: RemoteKey,
        digests: Sequence[bytes],
        *,
        request_key: str,
        signatures: int | None = None,
    ) -> Grant:
        dialect = await self._find_dialect()
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            "numSignatures": signatures or len(digests),
            dialect.digests: self._encode(digests),
            "clientData": request_key,
        }
        if dialect is DIALECTS["csc2"]:
            body["hashAlgorithmOID"] = DIGEST_OIDS[key.credential.digest_algorithm]
        if key.needs_pin and dialect is DIALECTS["csc2"]:
            body["authData"] = [{"id": "PIN", "value": read_pin(account)}]
        elif key.needs_pin:
            body["PIN"] = read_pin(account)
        return read_grant("credentials/authorize", await self._call(account, "credentials/authorize", body))

    async def send_otp(self, account: Account, key: RemoteKey) -> None:
        """Has the server send a one-time password. Raises UpstreamError.

        That is `credentials/sendOTP` (CSC v1.0.4 11.8), and `credentials/getChallenge` in v2, where some servers know the former.
        """
        body: JsonObject = {"credentialID": key.credential.credential_id}
        methods = ["sendOTP"] if await self._find_dialect() is DIALECTS["csc1"] else ["getChallenge", "sendOTP"]
        for method in methods:
            try:
                await self._call(account, f"credentials/{method}", body, calls=1)
                return
            except UpstreamPermanent:
                if method == methods[-1]:
                    raise

    async def authorize_with_otp(
        self, account: Account, key: RemoteKey, signatures: int, *, otp: str, pin: str
    ) -> Grant:
        """A grant for so many signatures, of whatever digests. It is asked for once: a one-time password is used up then."""
        dialect = await self._find_dialect()
        body: JsonObject = {"credentialID": key.credential.credential_id, "numSignatures": signatures}
        if dialect is DIALECTS["csc2"]:
            pins = [{"id": "PIN", "value": pin}] if key.needs_pin else []
            body["authData"] = [*pins, {"id": key.otp_id, "value": otp}]
        else:
            body |= {"OTP": otp, **({"PIN": pin} if key.needs_pin else {})}
        return read_grant("credentials/authorize", await self._call(account, "credentials/authorize", body, calls=1))

    async def extend(self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes]) -> Grant:
        dialect = await self._find_dialect()
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            dialect.digests: self._encode(digests),
            "SAD": grant.value,
        }
        answer = await self._call(account, "credentials/extendTransaction", body)
        return read_grant("credentials/extendTransaction", answer)

    async def sign(
        self, account: Account, key: RemoteKey, grant: Grant, digests: Sequence[bytes], *, request_key: str
    ) -> list[bytes] | Handle:
        dialect = await self._find_dialect()
        body: JsonObject = {
            "credentialID": key.credential.credential_id,
            "SAD": grant.value,
            dialect.digests: self._encode(digests),
            "signAlgo": key.sign_algorithm,
            "clientData": request_key,
        }
        if key.digest_algorithm or dialect is DIALECTS["csc2"]:
            body[dialect.digest_algorithm] = key.digest_algorithm or DIGEST_OIDS[key.credential.digest_algorithm]
        if key.sign_parameters:
            body["signAlgoParams"] = base64.b64encode(key.sign_parameters).decode()
        if dialect is DIALECTS["csc2"]:
            body["operationMode"] = "A" if self._asynchronous else "S"
        seconds = self._seconds + SIGN_SECONDS_PER_DIGEST * len(digests)
        ends = asyncio.get_running_loop().time() + seconds
        # Made once, even after a 401: the lane counts each call as a try of every document in it.
        try:
            answer = await self._call(
                account,
                "signatures/signHash",
                body,
                calls=1,
                deadline_seconds=seconds,
                max_answer_bytes=ANSWER_BYTES + ANSWER_BYTES_PER_DIGEST * len(digests),
            )
        except UpstreamPermanent as problem:
            if body.get("operationMode") != "A" or "501" not in problem.cause:
                raise
            self._asynchronous, self._refuses_mode_a = False, True
            # GrantExpired has the call made again, with a new grant.
            raise GrantExpired("the server offers mode A but does not implement it; mode S is used now") from None
        values = answer.get("signatures")
        handle = next((name for name in ("responseID", "requestID") if answer.get(name)), None)
        if values is None and handle is not None:
            return Handle(handle, answer[handle], len(digests), ends)
        return read_signatures("signatures/signHash", values, len(digests))

    async def poll(self, account: Account, handle: Handle) -> list[bytes] | None:
        """The handle is sent under the name that the server gave it: `responseID` or `requestID`."""
        most = ANSWER_BYTES + ANSWER_BYTES_PER_DIGEST * handle.digests
        body = {handle.name: handle.value}
        try:
            answer = await self._call(account, "signatures/signPolling", body, max_answer_bytes=most)
        except CallRejected as problem:
            # Some servers answer 400 while the signatures are not ready.
            if not PENDING.search(problem.said):
                raise
            return None
        values = answer.get("signatures")
        return None if values is None else read_signatures("signatures/signPolling", values, handle.digests)

    async def release(self, account: Account, handle: Handle) -> None:
        """Does nothing: CSC has no such call, and the server drops an answer that nobody fetches."""

    async def accepts(self, token: str) -> bool:
        try:
            dialect = await self._find_dialect()
            await self._transport.post(
                dialect.path + "credentials/list",
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
        """Makes a call with the account's bearer token, at most `calls` times. Raises UpstreamError.

        It is made again after a 401, with a fresh token, and after an answer that was lost (OutcomeUnknown). After a 401 for a
        token that cannot be renewed it raises UpstreamAuthRefused.
        """
        path = (await self._find_dialect()).path
        while True:
            calls -= 1
            token = await account.tokens.token()
            try:
                return await self._transport.post(
                    path + method,
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


def csc_of(settings: Settings, transport: Transport | None) -> Csc:
    """The provider that the settings describe."""
    assert transport is not None
    return Csc(
        transport,
        protocol=settings.upstream_protocol,
        digests=settings.upstream_digests,
        pss=settings.upstream_pss,
        seconds=settings.upstream_timeout,
    )
