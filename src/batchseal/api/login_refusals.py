"""Logs that logins were refused, so that an operator sees when somebody guesses secrets.

A line for each refusal of a configured client service: a pair of id and address has ten in a minute at most (`attempts.py`). Ids
that nobody has are counted and said once a minute, without the id, since people type secrets there by mistake.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from batchseal.system.telemetry.events import Category, security_event

UNKNOWN_SECONDS = 60.0

refused = partial(security_event, category=Category.AUTHENTICATION, action="login", success=False)


class LoginRefusals:
    """`is_configured` says whether there is a client service of this id."""

    def __init__(self, is_configured: Callable[[str], bool], *, now: Callable[[], float] = time.monotonic) -> None:
        self._is_configured = is_configured
        self._now = now
        self._unknown = 0
        self._said_at = -UNKNOWN_SECONDS

    def note(self, names: Sequence[str], address: str, locked: bool) -> None:
        """A login from this address was refused. `names` are the ids that it may have meant; `locked`: it was one too many."""
        configured = [name for name in names if self._is_configured(name)]
        if configured:
            what = "login refused, and locked for a minute" if locked else "login refused"
            refused(what, client_service=configured[0], address=address)
            return
        self._unknown += 1
        if self._now() - self._said_at >= UNKNOWN_SECONDS:
            refused("logins refused: no such client service", refused=self._unknown, last_address=address)
            self._unknown, self._said_at = 0, self._now()
