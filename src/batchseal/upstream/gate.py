"""`Gate`: whether this process may send sign calls of a credential now. Of several instances on a database, one at a time may.

Owns the protocol, and what joins a gate to the sending of a call. Leaves it to others whose turn it is (`signer/lanes.py`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from batchseal.errors import TurnOver
from batchseal.upstream.interface import Account, TokenSource


class Gate(Protocol):
    """The gate of one credential. All of it is memory: nothing here waits."""

    @property
    def is_open(self) -> bool:
        """Whether a call may be sent now, by the time that is left of this instance's turn."""
        ...

    def ask(self, opened: Callable[[], None]) -> None:
        """There is something to send: `opened` is called once the gate is open. It may be called without need."""
        ...

    def call_begins(self) -> None:
        """A call is under way. The turn is not given up before it ends."""
        ...

    def call_ended(self) -> None: ...


class AlwaysOpen:
    """The gate where no other instance can be."""

    is_open = True

    def ask(self, opened: Callable[[], None]) -> None:
        opened()

    def call_begins(self) -> None:
        pass

    def call_ended(self) -> None:
        pass


OPEN = AlwaysOpen()
# The gate of a credential, by its ID.
GateOf = Callable[[str], Gate]


class GatedTokens:
    """A `TokenSource` that looks at the gate as the last thing before a call is sent.

    A process may have been stopped since the call was begun (SIGSTOP, a machine that was suspended), and the turn may be over. A
    call needs its token directly before it is sent, so this is the place to look, whatever was waited for before.
    """

    def __init__(self, tokens: TokenSource, gate: Gate) -> None:
        self._tokens = tokens
        self._gate = gate

    async def token(self) -> str:
        token = await self._tokens.token()
        if not self._gate.is_open:
            raise TurnOver("another instance makes the calls of this credential now")
        return token

    def reject(self, token: str) -> bool:
        return self._tokens.reject(token)


def gated(account: Account, gate: Gate) -> Account:
    """The account for calls that may be sent only while the gate is open."""
    return account if gate is OPEN else replace(account, tokens=GatedTokens(account.tokens, gate))
