"""`StandingMemory`: memory that a process reserves for something that belongs to no request and changes all the time."""

from batchseal.admission.ledger import Ledger


class StandingMemory:
    """One such reservation. All reservations of the instance together stay within `limit_bytes`."""

    def __init__(self, ledger: Ledger, limit_bytes: int) -> None:
        self._ledger = ledger
        self._limit_bytes = limit_bytes
        self.held_bytes = 0

    def hold(self, memory_bytes: int) -> bool:
        """Reserves `memory_bytes` in all, in place of what was reserved before.

        Returns False and changes nothing if there is no room for more. Less is always possible.
        """
        more = memory_bytes - self.held_bytes
        if more:
            with self._ledger.booked() as booked:
                if more > 0 and booked.memory_bytes + more > self._limit_bytes:
                    return False
                self._ledger.change(memory=more)
            self.held_bytes = memory_bytes
        return True
