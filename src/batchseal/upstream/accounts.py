"""Whose account a call is made for: one for each client service of the file, and for each caller with a token of its own."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from batchseal.errors import UpstreamAuthRefused
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientService, ClientServices
from batchseal.upstream.interface import Account
from batchseal.upstream.tokens import CallersToken, ClientCredentials
from batchseal.upstream.transport import Transport

MAX_ACCOUNTS = 1024
RELOAD_SECONDS = 1.0


class Accounts:
    """`transport` is None where the keys are local and no token is needed. `forgotten` is told the key of an account that
    made room for others.
    """

    def __init__(
        self, services: ClientServices, transport: Transport | None, forgotten: Callable[[str], object]
    ) -> None:
        self._services = services
        self._transport = transport
        self._forgotten = forgotten
        self._accounts: OrderedDict[str, Account] = OrderedDict()  # the one used last comes last
        self._next_reload = 0.0

    def __iter__(self) -> Iterator[Account]:
        return iter(list(self._accounts.values()))

    def of(self, caller: Caller) -> Account:
        """A new one when the secret or the settings of its client service have changed. Raises UpstreamAuthRefused."""
        if caller.token is not None:
            key = "token:" + hashlib.sha256(caller.token.encode()).hexdigest()
        else:
            service = self._service(caller.client_service)
            facts = (service.id, *service.secrets, service.credential_id or "", str(service.pin_file))
            key = "service:" + hashlib.sha256("\0".join(facts).encode()).hexdigest()
        account = self._accounts.get(key)
        if account is None:
            if caller.token is not None:
                account = Account(key, CallersToken(caller.token), name=caller.client_service)
            else:
                tokens = ClientCredentials(self._transport, service) if self._transport else CallersToken("")
                account = Account(key, tokens, service.credential_id, service.pin_file, name=service.id)
            self._accounts[key] = account
        self._accounts.move_to_end(key)
        while len(self._accounts) > MAX_ACCOUNTS:
            self._forgotten(self._accounts.popitem(last=False)[0])
        return account

    def _service(self, name: str) -> ClientService:
        """As the file has it, or had it a second ago."""
        service = self._services.get(name)
        if service is None or time.monotonic() >= self._next_reload:
            self._next_reload = time.monotonic() + RELOAD_SECONDS
            self._services.reload_if_changed()
            service = self._services.get(name)
        if service is None:
            raise UpstreamAuthRefused(f"client service {name!r} is not configured")
        return service
