"""The accounts for which the signing service is called.

There is one account for each client service in the configuration file, and one for each bearer token that a caller brings. This
module creates accounts, and keeps the MAX_ACCOUNTS accounts that were used last. It leaves the fetching of bearer tokens to
`tokens`, and the key and the lane of an account to `remote`.
"""

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
RELOAD_SECONDS = 1.0  # between two checks whether the configuration file has changed


class Accounts:
    """Finds or creates the account of a caller.

    `transport` is None if the keys are local, since no bearer token is needed then. `on_dropped` is called with the key of each
    account that was dropped because there were more than MAX_ACCOUNTS.
    """

    def __init__(
        self, services: ClientServices, transport: Transport | None, on_dropped: Callable[[str], object]
    ) -> None:
        self._services = services
        self._transport = transport
        self._on_dropped = on_dropped
        self._accounts: OrderedDict[str, Account] = OrderedDict()  # in order of use, the last used at the end
        self._next_reload = 0.0

    def __iter__(self) -> Iterator[Account]:
        return iter(list(self._accounts.values()))

    def of(self, caller: Caller) -> Account:
        """The caller's account. It is a new one if the secrets or the settings of the client service have changed.

        Raises UpstreamAuthRefused if the client service is not configured.
        """
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
                account = Account(
                    key, tokens, service.credential_id, service.pin_file, name=service.id, secret=service.secret
                )
            self._accounts[key] = account
        self._accounts.move_to_end(key)
        while len(self._accounts) > MAX_ACCOUNTS:
            self._on_dropped(self._accounts.popitem(last=False)[0])
        return account

    def _service(self, name: str) -> ClientService:
        """The client service as in the configuration file, at most RELOAD_SECONDS ago. Raises UpstreamAuthRefused."""
        service = self._services.get(name)
        if service is None or time.monotonic() >= self._next_reload:
            self._next_reload = time.monotonic() + RELOAD_SECONDS
            self._services.reload_if_changed()
            service = self._services.get(name)
        if service is None:
            raise UpstreamAuthRefused(f"client service {name!r} is not configured")
        return service
