"""Passwords of accounts, as argon2id strings (RFC 9106, PHC string format).

A comparison needs 19 MiB (the parameters that OWASP recommends for argon2id with one lane). All workers of an instance make one at a
time: the lock is on a file of the temp folder, so that a flood of logins needs 19 MiB and no more.
"""

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from batchseal.errors import NoRoom

MEMORY_KIB, ITERATIONS, LANES, DIGEST_BYTES, SALT_BYTES = 19 * 1024, 2, 1, 32, 16
LEAST_CHARACTERS, MOST_CHARACTERS = 12, 256
LOCK_SECONDS, LOOK_SECONDS = 10.0, 0.02


def digest_of(password: str) -> str:
    """What is stored of a password."""
    kdf = Argon2id(
        salt=secrets.token_bytes(SALT_BYTES),
        length=DIGEST_BYTES,
        iterations=ITERATIONS,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    )
    return kdf.derive_phc_encoded(password.encode())


def matches(stored: str, password: str) -> bool:
    """Whether this is the password of which `stored` was made."""
    try:
        Argon2id.verify_phc_encoded(password.encode(), stored)
    except InvalidKey:
        return False
    return True


def problem_of(password: str) -> str:
    """What is wrong with a new password; empty if nothing is (NIST SP 800-63B 5.1.1: length counts, composition does not)."""
    if len(password) < LEAST_CHARACTERS:
        return f"a password needs {LEAST_CHARACTERS} characters or more"
    if len(password) > MOST_CHARACTERS:
        return f"a password may have {MOST_CHARACTERS} characters at most"
    if len(set(password)) < 5:
        return "a password needs five different characters or more"
    return ""


class PasswordChecks:
    """Compares passwords in a thread, one at a time in all processes that use the same lock file.

    `hold` reserves so many bytes of memory in all for it, or returns False.
    """

    def __init__(self, lock_path: Path, hold: Callable[[int], bool]) -> None:
        self._path = lock_path
        self._hold = hold
        self._turn = asyncio.Lock()
        # Compared with where there is no account, so that the time taken does not say which names exist.
        self._nobody = ""

    async def is_right(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one of `stored`. Without `stored` the answer is no, after the same work.

        Raises NoRoom if too many wait for their turn.
        """
        if len(password) > MOST_CHARACTERS:
            return False
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise too_many() from None
        try:
            if not self._hold(MEMORY_KIB * 1024):
                raise NoRoom("the memory for signing in is in use", retry_after_seconds=5)
            return await asyncio.to_thread(self._compare, stored, password)
        finally:
            self._hold(0)
            self._turn.release()

    def _compare(self, stored: str | None, password: str) -> bool:
        with self._locked():
            if stored is None:
                self._nobody = self._nobody or digest_of(secrets.token_hex(16))
            return matches(stored or self._nobody, password) and stored is not None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            ends = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= ends:
                        raise too_many() from None
                    time.sleep(LOOK_SECONDS)
            yield
        finally:
            os.close(descriptor)


def too_many() -> NoRoom:
    return NoRoom("too many people sign in at this moment", retry_after_seconds=5)
