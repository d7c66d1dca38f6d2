"""Opens connections at whichever host of the address takes them, with the password that is right now."""

from collections.abc import Awaitable, Callable

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.store.address import WRITERS, Address, for_each_host, wanted_server
from batchseal.store.outages import CONNECTING_FAILED, REFUSED
from batchseal.store.sessions import Session

# Opens one connection: an address with one host, and its `target_session_attrs`.
ConnectOne = Callable[[str, str | None], Awaitable[Session]]


class Hosts:
    """The hosts of an address. The one that took the last connection is tried first, then the others in their order.

    Each host has a time of its own to answer. The driver can try several hosts as well, but has one time for all of them, which
    a first host that does not answer at all would use up.

    An address in a file is read again for each connection. While a password is being changed, the file may be older or newer than
    the database: so a refusal is final only for the first connection, and only if the file has not changed meanwhile.
    """

    def __init__(self, address: Address, connect_one: ConnectOne) -> None:
        self._address = address
        self._connect_one = connect_one
        self._url = address.read()
        self._last = 0
        self._was_connected = False

    def __len__(self) -> int:
        return len(for_each_host(self._url))

    async def connect(self) -> Session:
        """Raises what the driver raises, or DatabaseUnavailable if a password is refused that was right once."""
        tried = ""
        while True:
            self._read_again()
            if (url := self._url) == tried:
                break
            try:
                session = await self._connect_to_any(url)
            except REFUSED as problem:
                if not self._address.file:
                    raise
                tried, refusal = url, problem
                continue
            self._was_connected = True
            return session
        if not self._was_connected:
            raise refusal
        raise DatabaseUnavailable(f"{refusal}; {self._address.file} is read again at the next attempt")

    def _read_again(self) -> None:
        """A file that is just being replaced may be missing or empty for a moment: then what it held before is used."""
        try:
            self._url = self._address.read()
        except ConfigurationError:
            if not self._was_connected:
                raise

    async def _connect_to_any(self, url: str) -> Session:
        each, wanted = for_each_host(url), wanted_server(url)
        failures: list[Exception] = []
        for number in sorted(range(len(each)), key=lambda number: number != self._last):
            try:
                session = await self._connect_one(each[number], wanted)
            except (*CONNECTING_FAILED, REFUSED) as problem:
                failures.append(problem)
                continue
            self._last = number
            session.must_write = wanted in WRITERS
            return session
        # One that is away may be the one that would not refuse.
        raise next((one for one in failures if not isinstance(one, REFUSED)), failures[0])
