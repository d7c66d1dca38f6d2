"""`batchseal operator`: makes, lists, changes and removes the accounts of the operator's page."""

import asyncio
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from batchseal.commands.databases import OF_DATABASE, open_store
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings
from batchseal.settings.operator_options import ROLES
from batchseal.store.operator_accounts import OperatorAccounts
from batchseal.store.store import Store

DESCRIPTION = """
Make, list, change or remove the accounts of the operator's page.

  add NAME       make an account. The password is asked for, or read from --password-file or from standard input
  list           one line for each account: its name, role, whether it has a one-time code, when it signed in last
  password NAME  give an account another password
  code NAME      give an account another key for one-time codes, or none with --no-code
  role NAME      give an account another role
  remove NAME    remove an account

A change ends the sessions of the account. The roles are viewer (sees everything but the audit trail and the settings),
operator (may also retry, cancel and purge), auditor (sees the audit trail and the settings, changes nothing) and admin.

The database is that of --database-url, or that of the service which uses --temp-folder, whether it runs or not."""

EXIT_CODES = "Exit code: 0 if it is done, 1 if nothing was changed, 2 for wrong use."

USAGE = """batchseal operator add NAME --role ROLE [--no-code | --code] [--password-file FILE] [--FLAG=VALUE]...
       batchseal operator list [--FLAG=VALUE]...
       batchseal operator password NAME [--password-file FILE] [--FLAG=VALUE]...
       batchseal operator code NAME [--no-code] [--FLAG=VALUE]...
       batchseal operator role NAME --role ROLE [--FLAG=VALUE]...
       batchseal operator remove NAME [--FLAG=VALUE]..."""

USED = (*OF_DATABASE, "operator_totp")
ACTIONS = ("add", "list", "password", "code", "role", "remove")
MOST_CHARACTERS = 100


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("operator", DESCRIPTION, USED)
    parser.usage = USAGE
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("action", choices=ACTIONS, help="what to do, see above")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the name of the account")
    parser.add_argument("--role", choices=ROLES, help="what the account may do")
    parser.add_argument("--password-file", metavar="FILE", type=Path, help="file with the password, in its first line")
    code = parser.add_mutually_exclusive_group()
    code.add_argument("--code", action="store_true", help="ask for one-time codes (TOTP), also where none is required")
    code.add_argument("--no-code", action="store_true", help="ask for no one-time codes")
    settings, options = parse(parser, arguments)
    name: str = options.name or ""
    if options.action != "list" and not (name and name.isprintable() and len(name) <= MOST_CHARACTERS):
        parser.error(f"{options.action} needs the NAME of an account, of {MOST_CHARACTERS} characters at most")
    if options.action in ("add", "role") and not options.role:
        parser.error(f"{options.action} needs --role")
    match options.action:
        case "list":
            return asyncio.run(show(settings))
        case "add":
            has_code = options.code or (not options.no_code and is_required(settings, options.role))
            if not has_code and is_required(settings, options.role):
                complain(f"warning: --operator-totp={settings.operator_totp} will refuse this account without a code")
            password = read_password(options.password_file)
            return asyncio.run(add(settings, name, options.role, password, has_code=has_code))
        case "password":
            return asyncio.run(change_password(settings, name, read_password(options.password_file)))
        case "code":
            return asyncio.run(change_code(settings, name, has_code=not options.no_code))
        case "role":
            return asyncio.run(change_role(settings, name, options.role))
        case _:
            return asyncio.run(remove(settings, name))


def is_required(settings: Settings, role: str) -> bool:
    """Whether accounts with this role need a one-time code."""
    return settings.operator_totp == "all" or (settings.operator_totp == "admin" and role == "admin")


def read_password(file: Path | None) -> str:
    """The new password, from a file, from standard input, or typed twice. Raises ConfigurationError."""
    from batchseal.operator.signing_in.passwords import problem_of  # late, so that --help is answered at once

    if file is not None:
        try:
            password = file.read_text("utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as problem:
            raise ConfigurationError(f"{file}: {problem}") from None
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise ConfigurationError("the two passwords are not the same")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if wrong := problem_of(password):
        raise ConfigurationError(wrong)
    return password


async def add(settings: Settings, name: str, role: str, password: str, *, has_code: bool) -> int:
    from batchseal.operator.signing_in.passwords import digest_of
    from batchseal.operator.signing_in.totp import new_key

    key = new_key() if has_code else None
    async with open_store(settings) as store:
        accounts = OperatorAccounts(store.database)
        if not await knows_accounts(accounts):
            return 1
        if not await accounts.add(name, role, digest_of(password), key):
            complain(f"there is an account {name!r} already")
            return 1
        await note(settings, store, f"added the operator account {name!r} with the role {role}")
    print(f"Account {name} is made, with the role {role}.")
    if key is not None:
        tell_key(name, key)
    return 0


async def show(settings: Settings) -> int:
    async with open_store(settings) as store:
        accounts = OperatorAccounts(store.database)
        if not await knows_accounts(accounts):
            return 1
        for one in await accounts.all():
            code = "one-time code" if one.totp_key else "password only"
            seen = f"signed in {one.signed_in_at:%Y-%m-%d %H:%M} UTC" if one.signed_in_at else "never signed in"
            print(f"{one.name}  {one.role}  {code}  {seen}")
    return 0


async def change_password(settings: Settings, name: str, password: str) -> int:
    from batchseal.operator.signing_in.passwords import digest_of

    async with open_store(settings) as store:
        accounts = OperatorAccounts(store.database)
        done = await knows_accounts(accounts) and await accounts.change(name, password=digest_of(password))
        return await told(
            settings, store, name, "has another password now", f"changed the password of {name!r}", done=done
        )


async def change_code(settings: Settings, name: str, *, has_code: bool) -> int:
    from batchseal.operator.signing_in.totp import new_key

    key = new_key() if has_code else None
    async with open_store(settings) as store:
        accounts = OperatorAccounts(store.database)
        done = await knows_accounts(accounts) and await accounts.change(name, totp_key=key, replaces_totp=True)
        what = "has another key for one-time codes now" if key else "is not asked for one-time codes any more"
        code = await told(settings, store, name, what, f"changed the one-time code of {name!r}", done=done)
    if done and key is not None:
        tell_key(name, key)
    return code


async def change_role(settings: Settings, name: str, role: str) -> int:
    async with open_store(settings) as store:
        accounts = OperatorAccounts(store.database)
        done = await knows_accounts(accounts) and await accounts.change(name, role=role)
        return await told(
            settings, store, name, f"has the role {role} now", f"gave {name!r} the role {role}", done=done
        )


async def remove(settings: Settings, name: str) -> int:
    async with open_store(settings) as store:
        accounts = OperatorAccounts(store.database)
        done = await knows_accounts(accounts) and await accounts.remove(name)
        return await told(settings, store, name, "is removed", f"removed the operator account {name!r}", done=done)


async def told(settings: Settings, store: Store, name: str, what: str, detail: str, *, done: bool) -> int:
    """Says what was done, and leaves it in the audit trail. Returns the exit code."""
    if not done:
        complain(f"there is no account {name!r}")
        return 1
    await note(settings, store, detail)
    print(f"Account {name} {what}.")
    return 0


async def knows_accounts(accounts: OperatorAccounts) -> bool:
    """Whether the database is new enough; complains if it is not."""
    if await accounts.exist():
        return True
    complain("the database is that of an earlier release; start the service once to bring it up to date")
    return False


async def note(settings: Settings, store: Store, detail: str) -> None:
    """Leaves an entry in the audit trail: the account of the system that has called this command, and what was done."""
    from batchseal.commands.operations import who_acts
    from batchseal.store.operator import OperatorStore

    try:
        await OperatorStore(store.database, settings).note(who_acts(), detail)
    except ConfigurationError as problem:
        complain(f"warning: the audit trail has no entry of this: {problem.cause}")


def tell_key(name: str, key: bytes) -> None:
    """Shows the key for an authenticator, once."""
    from batchseal.operator.signing_in.totp import key_address, key_text

    print(f"Enter this key in an authenticator (it is shown only now): {key_text(key)}")
    print(f"Its address, for a QR code: {key_address(name, key)}")
