"""Signing in with an account: a name, a password and, where the account has a key for them, a one-time code."""

import hmac
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from batchseal.errors import NoRoom, TooManyRequests
from batchseal.operator.signing_in.attempts import OperatorAttempts
from batchseal.operator.signing_in.passwords import PasswordChecks
from batchseal.operator.signing_in.totp import matching_step
from batchseal.operator.signing_in.trail import SignInTrail
from batchseal.settings.load import Settings
from batchseal.settings.operator_page import trial_password_path
from batchseal.store.operator_accounts import Account, OperatorAccounts
from batchseal.system.disk import read_own

log = structlog.get_logger("operator")

# The account of a trial: the built-in sandbox signs, and nobody has made an account yet.
SANDBOX_NAME, SANDBOX_ROLE = "sandbox", "admin"


class AccountLogin:
    """Compares what somebody types with the accounts. `hold` reserves memory for the comparison."""

    def __init__(
        self,
        accounts: OperatorAccounts,
        attempts: OperatorAttempts,
        trail: SignInTrail,
        settings: Settings,
        hold: Callable[[int], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._attempts = attempts
        self._trail = trail
        self._checks = PasswordChecks(settings.temp_folder / "operator.lock", hold)
        self._required = settings.operator_totp
        self._sandbox_password = trial_password_path(settings) if settings.sandbox_signs else None
        self._clock = clock

    async def sign_in(self, name: str, password: str, code: str, address: str) -> tuple[str, str] | None:
        """The role of the account, and where the account is from; None if anything is wrong.

        Raises TooManyRequests after too many failures, NoRoom if too many sign in at once.
        """
        account = await self._accounts.find(name) if name and "\0" not in name else None
        try:
            guess = await self._attempts.guess(name, address)
        except TooManyRequests:
            locked = "locked out for a time after too many failed attempts from this address"
            await self._trail.failed_again(account.name if account else None, address, locked)
            raise
        signed_in = None
        if account is not None or not await self._is_sandbox(name, password):
            try:
                is_right = await self._checks.is_right(account.password if account else None, password)
            except NoRoom:  # nothing was compared
                await guess.take_back()
                raise
            if account is not None and is_right and await self._code_is_right(account, code):
                signed_in = account.role, "account"
        else:
            signed_in = SANDBOX_ROLE, "sandbox"
        if signed_in is None:
            why = "the password or the code was wrong" if account else "no account has the name that was given"
            await self._trail.failed(account.name if account else None, address, why)
            return None
        await guess.take_back()
        return signed_in

    async def _is_sandbox(self, name: str, password: str) -> bool:
        """Whether these are the name and the password of a trial, and nobody has made an account."""
        if self._sandbox_password is None or name != SANDBOX_NAME:
            return False
        expected = sandbox_password(self._sandbox_password)
        is_right = bool(expected) and hmac.compare_digest(expected.encode(), password.encode("utf-8", "replace"))
        return is_right and not await self._accounts.any()

    async def _code_is_right(self, account: Account, code: str) -> bool:
        """Whether the one-time code is right and was not used before. Without a key, whether none is required."""
        if account.totp_key is None:
            is_required = self._required == "all" or (self._required == "admin" and account.role == "admin")
            if is_required:
                log.warning("operator account lacks a one-time code, which is required", operator=account.name)
            return not is_required
        step = matching_step(account.totp_key, code, self._clock())
        return step is not None and await self._accounts.use_totp_step(account.name, step)


def sandbox_password(path: Path) -> str:
    """The password of a trial; empty if there is none."""
    try:
        return read_own(path).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
