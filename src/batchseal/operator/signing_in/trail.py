"""What the audit trail and the log keep of signing in: who has signed in or out, who failed or was locked out, and from where.

Anybody who reaches the page can fail, and an entry of the trail stays for years. So failures are noted up to a bound; those
beyond it are in the log alone, and the next entry says how many they were. A name that no account has is not kept: it may be a
password that somebody typed into the wrong field.
"""

import time
from collections.abc import Callable

from batchseal.operator.signing_in.attempts import WINDOW_SECONDS
from batchseal.store.operator import OperatorStore, Who
from batchseal.system.addresses import group_of
from batchseal.system.telemetry.events import Category, security_event

# So many failures are noted one by one at once, and so many seconds later one more. For each worker.
MOST_AT_ONCE, SECONDS_FOR_ONE = 200, 10.0
# For so many names and addresses it is known what was noted of them in this window.
MOST_KNOWN = 1_000
NOBODY = "unknown"


class SignInTrail:
    """One for each worker. Every method raises DatabaseUnavailable."""

    def __init__(self, store: OperatorStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._room, self._filled_at, self._left_out = float(MOST_AT_ONCE), clock(), 0
        self._noted: dict[tuple[str, str, str], float] = {}

    async def signed_in(self, name: str, role: str, source: str, address: str) -> None:
        # Whom a proxy names is signed in with each request of a client that keeps no cookie, such as a monitor.
        if source == "header" and not self._is_news(name, address, role):
            return
        await self._store.note(Who(name, address or NOBODY), f"signed in ({source}, role {role})")
        action = Category.AUTHENTICATION, "operator-login"
        security_event("operator signed in", *action, operator=name, role=role, source=source, address=address)

    async def signed_out(self, name: str, address: str) -> None:
        await self._store.note(Who(name, address or NOBODY), "signed out")
        action = Category.AUTHENTICATION, "operator-logout"
        security_event("operator signed out", *action, operator=name, address=address)

    async def failed(self, name: str | None, address: str, why: str) -> None:
        """`name` is that of an account, or of somebody whom a provider or proxy knows; None: nobody knows it."""
        fields = {"operator": name or NOBODY, "address": address, "cause": why}
        security_event("operator login failed", Category.AUTHENTICATION, "operator-login", success=False, **fields)
        self._refill()
        if self._room < 1:
            self._left_out += 1
            return
        self._room -= 1
        more = f"; {self._left_out} failures before it were not noted one by one" if self._left_out else ""
        self._left_out = 0
        await self._store.note(Who(name or NOBODY, address or NOBODY), f"failed to sign in: {why}{more}")

    async def failed_again(self, name: str | None, address: str, why: str) -> None:
        """The same, for what a browser repeats: noted once in a window for a name and an address."""
        if self._is_news(name or "", address, why):
            await self.failed(name, address, why)

    def _is_news(self, name: str, address: str, what: str) -> bool:
        """Whether this was not asked in this window yet."""
        now, key = self._clock(), (name, group_of(address), what)
        if now - self._noted.get(key, -WINDOW_SECONDS) < WINDOW_SECONDS:
            return False
        self._noted = {one: at for one, at in self._noted.items() if now - at < WINDOW_SECONDS}
        if len(self._noted) < MOST_KNOWN:
            self._noted[key] = now
        return True

    def _refill(self) -> None:
        now = self._clock()
        self._room = min(MOST_AT_ONCE, self._room + (now - self._filled_at) / SECONDS_FOR_ONE)
        self._filled_at = now
