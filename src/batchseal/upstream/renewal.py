"""Renews the grant of a credential with a one-time password and a PIN, which are used once and kept nowhere."""

from dataclasses import dataclass
from datetime import datetime

from batchseal.errors import CredentialUnusable, UpstreamError
from batchseal.operation import Caller
from batchseal.upstream.accounts import Accounts
from batchseal.upstream.csc import Csc
from batchseal.upstream.interface import Account, RemoteKey, SigningService
from batchseal.upstream.kept_grants import KeptGrants
from batchseal.upstream.wire import read_pin


@dataclass(frozen=True, slots=True)
class Renewed:
    """A new grant: of which credential, until when, for how many signatures."""

    credential_id: str
    ends_at: datetime
    signatures: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What a renewal needs. `sends_otp`: the signing service sends the one-time password, when asked to (`Renewal.send_otp`)."""

    credential_id: str
    sends_otp: bool
    needs_pin: bool


class Renewal:
    """For the credentials of client services at one signing service. Methods raise UpstreamError and DatabaseUnavailable."""

    def __init__(self, service: SigningService, accounts: Accounts, kept: KeptGrants) -> None:
        self._service = service
        self._accounts = accounts
        self._kept = kept

    async def needs(self, client_service: str) -> Asked:
        """What the renewal for this client service needs. A PIN that a file holds is not asked for."""
        account, key, _ = await self._find(client_service)
        return Asked(key.credential.credential_id, key.otp_is_sent, key.needs_pin and account.pin_file is None)

    async def send_otp(self, client_service: str) -> None:
        """Has the signing service send a one-time password to whom the credential belongs."""
        account, key, csc = await self._find(client_service)
        await csc.send_otp(account, key)

    async def renew(self, client_service: str, otp: str, pin: str = "") -> Renewed:
        """Asks for a new grant for as many signatures as the credential allows, and keeps it for all instances."""
        account, key, csc = await self._find(client_service)
        if key.needs_pin and not pin:
            pin = read_pin(account)
        grant = await csc.authorize_with_otp(account, key, key.multisign, otp=otp.strip(), pin=pin)
        ends_at = await self._kept.renew(account, key, grant, key.multisign)
        return Renewed(key.credential.credential_id, ends_at, key.multisign)

    async def _find(self, client_service: str) -> tuple[Account, RemoteKey, Csc]:
        if not isinstance(self._service, Csc):
            raise CredentialUnusable("the key is a local one, and needs no grant")
        account = self._accounts.of(Caller(client_service))
        credential_id = account.credential_id
        if credential_id is None:
            found = await self._service.credentials(account)
            if len(found) != 1:
                raise CredentialUnusable(f"credentialId must name one of the credentials of {client_service}")
            credential_id = found[0]
        key = await self._service.key(account, credential_id)
        if not key.needs_otp:
            raise CredentialUnusable(
                f"credential {credential_id!r} needs no one-time password: each call gets its grant"
            )
        return account, key, self._service


def as_text(problem: UpstreamError) -> str:
    """Why a renewal failed, for a person."""
    return f"{problem.description()} {problem.cause}".strip()
