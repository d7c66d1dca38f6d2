"""`batchseal credential`: lists the credentials that sign, and renews the permission to use one."""

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from batchseal.commands.databases import OF_DATABASE, open_operator_store, opened_database
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.errors import ConfigurationError, UpstreamError
from batchseal.settings.load import OPTIONS, Settings

if TYPE_CHECKING:
    from batchseal.store.operator import CredentialLine, OperatorStore
    from batchseal.upstream.renewal import Renewal

DESCRIPTION = """
List the credentials that sign, or renew the permission to use one.

  list           one line for each credential: whose certificate it is, when that ends, and how long and for how many
                 signatures the permission to use it (its grant) still holds
  renew SERVICE  ask for a new grant for the credential of a client service, where that takes a one-time password: has
                 the signing service send one where it does that, and asks for it and for the PIN at the terminal. From
                 a program, both come as lines on standard input, the one-time password first. Neither is stored

What waits for the grant goes on at once, at all instances. A credential that wants a one-time password for each use cannot
be used by a service. The database is that of --database-url, or that of the service which uses --temp-folder, whether it
runs or not; the signing service and the client services are those of the flags of `batchseal serve`."""

EXIT_CODES = "Exit code: 0 if it is done, 1 if it is not, 2 for wrong use. list: 1 if a grant must be renewed."

UPSTREAM = tuple(name for name, option in OPTIONS.items() if option.metadata["group"] == "upstream")
USED = (*OF_DATABASE, "work_folder", "client_services_file", *UPSTREAM)


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("credential", DESCRIPTION, USED)
    parser.usage = (
        "batchseal credential list [--json] [--FLAG=VALUE]...\n"
        "       batchseal credential renew CLIENT_SERVICE [--FLAG=VALUE]..."
    )
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("action", choices=("list", "renew"), help="what to do, see above")
    parser.add_argument("client_service", nargs="?", metavar="CLIENT_SERVICE", help="whose credential is meant")
    parser.add_argument("--json", action="store_true", help="list: one JSON object a line, for programs")
    settings, options = parse(parser, arguments)
    if (options.action == "renew") != bool(options.client_service):
        parser.error("renew needs the name of a client service, and list takes none")
    if options.action == "list":
        return asyncio.run(show(settings, as_json=options.json))
    return asyncio.run(renew(settings, options.client_service))


async def show(settings: Settings, *, as_json: bool) -> int:
    from batchseal.commands.operating.output import line_of_json

    async with open_operator_store(settings) as store:
        lines = await store.credentials()
    if as_json:
        for line in lines:
            print(line_of_json(line))
    else:
        print(credentials_table(lines))
    return 1 if any(line.state == "lapsed" for line in lines) else 0


def credentials_table(lines: "Sequence[CredentialLine]") -> str:
    from batchseal.commands.operating.output import table

    names = (
        "CREDENTIAL",
        "CLIENT SERVICE",
        "SUBJECT",
        "VALID TO",
        "DAYS",
        "GRANT",
        "DAYS",
        "SIGNATURES LEFT",
        "PROBLEM",
    )
    rows = []
    for line in lines:
        days = "-" if line.grant_days_left is None else f"{line.grant_days_left:.1f}"
        left = "-" if line.grant_left is None else f"{line.grant_left} of {line.grant_total}"
        valid_to = f"{line.valid_to:%Y-%m-%d}" if line.valid_to else "-"
        certificate_days = "-" if line.certificate_days_left is None else str(line.certificate_days_left)
        grant = line.state if line.needs_otp else "each call"
        rows.append(
            (
                *(line.credential_id or "-", line.client_service, line.subject, valid_to, certificate_days),
                *(grant, days, left, line.problem),
            )
        )
    return table(names, rows)


async def renew(settings: Settings, client_service: str) -> int:
    """Renews the grant. Returns the exit code."""
    from batchseal.commands.operations import who_acts
    from batchseal.upstream.renewal import as_text

    if settings.uses_sandbox:
        raise ConfigurationError(
            "the credentials of the sandbox need no renewal; --service-domain names a signing service"
        )
    async with open_renewal(settings) as (renewal, store):
        try:
            asked = await renewal.needs(client_service)
            if asked.sends_otp:
                await renewal.send_otp(client_service)
                print(f"The signing service sends a one-time password for credential {asked.credential_id}.")
            otp, pin = secrets_of(asked.credential_id, needs_pin=asked.needs_pin)
            if not otp:
                complain("no one-time password was given; nothing was changed")
                return 1
            renewed = await renewal.renew(client_service, otp, pin)
        except UpstreamError as problem:
            complain(as_text(problem))
            return 1
        until = f"{renewed.ends_at:%Y-%m-%d %H:%M} UTC"
        detail = f"grant of credential {renewed.credential_id} of {client_service} renewed until {until}"
        await store.note(who_acts(), f"{detail}, for {renewed.signatures} signatures")
    print(
        f"Credential {renewed.credential_id} may sign until {until}, {renewed.signatures} times. What waits goes on now."
    )
    return 0


def secrets_of(credential_id: str, *, needs_pin: bool) -> tuple[str, str]:
    """The one-time password and the PIN: from the terminal, or as lines of standard input."""
    if sys.stdin.isatty():
        otp = getpass.getpass(f"One-time password for credential {credential_id}: ")
        return otp.strip(), getpass.getpass("PIN: ").strip() if needs_pin else ""
    otp = sys.stdin.readline().strip()
    return otp, sys.stdin.readline().strip() if needs_pin else ""


@asynccontextmanager
async def open_renewal(settings: Settings) -> "AsyncIterator[tuple[Renewal, OperatorStore]]":
    """What renews, and the store of operators, for the audit trail."""
    from batchseal.settings.client_services import client_services
    from batchseal.store.credentials import CredentialTable
    from batchseal.store.operator import OperatorStore
    from batchseal.store.store import Store
    from batchseal.upstream.remote import RemoteUpstream

    async with opened_database(settings) as address:
        store = await Store.connect(address, instance=uuid4(), pool_size=1)
        operators = await OperatorStore.connect(settings, pool_size=1, address=address)
        services = client_services(settings, remarks=False)
        upstream = RemoteUpstream(settings, services, notes=CredentialTable(store.database))
        try:
            assert upstream.renewal is not None
            yield upstream.renewal, operators
        finally:
            await upstream.close()
            await operators.close()
            await store.close()
