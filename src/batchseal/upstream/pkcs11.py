"""A key on a PKCS#11 token (an HSM). The token's library runs in a process of its own, and so cannot block or crash the signer.

The address is an RFC 7512 URI: `pkcs11:token=t1;object=seal?module-path=/usr/lib/softhsm/libsofthsm2.so`. The query may also have
`chain=FILE` (PEM), for certificates that are not on the token.

Owns that process (`pkcs11_process`): starts it for the first call, and again after it ended. It handles one call at a time.
Leaves retries to `lane`.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from batchseal.errors import ConfigurationError, CredentialUnusable, OutcomeUnknown, UpstreamError, UpstreamTransient
from batchseal.system import messages

log = structlog.get_logger("pkcs11")

CALL_SECONDS = 120.0
MAX_MESSAGE_BYTES = 16 << 20
PROCESS = (sys.executable, "-m", "batchseal.upstream.pkcs11_process")


class Pkcs11Key:
    """A `LocalKey` on a token.

    `lock` is a file that is locked while a process opens the token and logs in: some libraries fail if two processes do so at
    once. `command` starts the process. Raises ConfigurationError for a URI without token or module-path.
    """

    def __init__(self, url: str, lock: Path, command: Sequence[str] = PROCESS) -> None:
        self._command = command
        path, _, query = url.removeprefix("pkcs11:").partition("?")
        self._wanted = {name: unquote(value) for name, _, value in (part.partition("=") for part in path.split(";"))}
        options = dict(parse_qsl(query))
        self._wanted["module"], self._wanted["lock"] = options.get("module-path", ""), str(lock)
        self._chain_file = options.get("chain", "")
        if not self._wanted["module"] or "token" not in self._wanted:
            raise ConfigurationError("--upstream-url: pkcs11: needs token=... and ?module-path=...")
        self._process: asyncio.subprocess.Process | None = None
        self._call_lock = asyncio.Lock()

    async def chain(self, pin: str) -> tuple[bytes, ...]:
        on_token = [bytes(der) for der in await self._call(pin, "chain")]
        beside = await asyncio.to_thread(read_chain_file, self._chain_file) if self._chain_file else []
        return tuple(dict.fromkeys(on_token + beside))

    async def sign(self, pin: str, digests: Sequence[bytes], digest_name: str, *, pss: bool) -> list[bytes]:
        return [bytes(value) for value in await self._call(pin, "sign", list(digests), digest_name, pss)]

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _call(self, pin: str, *request: Any) -> Any:
        """Sends one request, and returns its result. Raises the error of the token, or OutcomeUnknown if the process is lost."""
        async with self._call_lock:
            process = await self._running_process(pin)
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    process.stdin.write(messages.pack(request))
                    await process.stdin.drain()
                    ok, answer = await messages.read(process.stdout, MAX_MESSAGE_BYTES)
            except (OSError, EOFError, TimeoutError, asyncio.CancelledError) as problem:
                # A late answer must not be read as the answer to the next request, so the process has to end.
                await self.close()
                if isinstance(problem, asyncio.CancelledError):
                    raise
                what = "did not answer in time" if isinstance(problem, TimeoutError) else "ended"
                raise OutcomeUnknown(f"the PKCS#11 process {what}") from None
        if not ok:
            raise error_of(answer)
        return answer

    async def _running_process(self, pin: str) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAX_MESSAGE_BYTES,
            )
            log.info("a process for the PKCS#11 token was started", pid=self._process.pid)
            assert self._process.stdin is not None
            self._process.stdin.write(messages.pack([{**self._wanted, "pin": pin}]))
        return self._process


def read_chain_file(path: str) -> list[bytes]:
    """The certificates of a PEM file, as DER. Raises CredentialUnusable."""
    try:
        loaded = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as problem:
        raise CredentialUnusable(f"{path}: {problem}") from None
    return [certificate.public_bytes(serialization.Encoding.DER) for certificate in loaded]


def error_of(said: str) -> UpstreamError:
    """The error that fits what the library said. One that no other try can mend, such as a wrong PIN, is CredentialUnusable."""
    lasting = ("PinIncorrect", "PinLocked", "NoSuchToken", "NoSuchKey", "MultipleObjects", "NoSuchModule", "KeyType")
    if said.startswith(lasting):
        return CredentialUnusable(f"the PKCS#11 token: {said}")
    return UpstreamTransient(f"the PKCS#11 token: {said}")
