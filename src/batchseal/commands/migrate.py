"""`batchseal migrate`: what a switch from the original product needs: a check, taken references, and its own addresses."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchseal.commands.messages import complain
from batchseal.errors import ConfigurationError

if TYPE_CHECKING:
    from batchseal.settings.load import Settings
    from batchseal.store.taken_references import TakenReference

DESCRIPTION = """
What a switch from the original product needs.

  check       reads the command line that starts the original's container, and its work folder, and says what carries
              over, what changes and what is missing; prints the command line for this service
  references  marks external references that the original sealed as taken, so that a retry after the switch is told
              so, and nothing is sealed twice
  contract    makes a contract.toml from the vendor's own OpenAPI document, and says what did not match

`batchseal migrate ACTION --help` shows the flags of each. `batchseal compare` shows whether both answer alike."""

CHECK = """
Read the command line that starts the original's container, and its work folder, and say what carries over, what
changes and what is missing. Nothing is changed, and nothing is called over the network."""
CHECK_CODES = "Exit code: 0 if nothing is missing, 1 if something is, 2 for wrong use."

REFERENCES = """
Mark external references that the original sealed as taken. A caller that hands one of them in again gets the error
0.0.7 (409), as from the original, and nothing is signed; who asks for its result hears that it is no longer kept.

A line of FILE.csv holds a client service, an external reference and, if it is known, when it was sealed
(2026-11-30T12:00:00Z); with --client-service, the reference alone. A first line with headings (clientService,
externalReference, date) may name the columns in another order. Separators may be commas, semicolons or tabs. The
command can be repeated: what is marked already stays as it is. From the time of sealing (or now) --reference-days
count.

The database is that of --database-url, or that of the service which uses --temp-folder, whether it runs or not."""
REFERENCES_CODES = (
    "Exit code: 0 if every line could be used, 1 if one could not (the others are marked), 2 for wrong use."
)

CONTRACT = """
Read the vendor's own OpenAPI document (version 2 or 3, JSON) and write the addresses and field names in it as a
contract.toml for --compat.contract. What was matched by likeness, and what did not match, is said, and stands in the
file as comments: look at it before you use the file. A file that is there is not replaced."""
CONTRACT_CODES = (
    "Exit code: 0 if everything matched, 1 if something did not (the file is written all the same), 2 for wrong use."
)

REFERENCES_AT_ONCE = 1_000
SHOWN = 20


def run(arguments: Sequence[str]) -> int:
    actions: dict[str, Callable[[Sequence[str]], int]] = {
        "check": check,
        "references": references,
        "contract": contract,
    }
    if arguments and arguments[0] in actions:
        return actions[arguments[0]](arguments[1:])
    parser = parser_of("", DESCRIPTION, "")
    parser.usage = "batchseal migrate {check,references,contract} ..."
    parser.add_argument("action", choices=tuple(actions), help="what to do, see above")
    parser.parse_args(arguments or ["--help"])
    return 2


def parser_of(action: str, description: str, codes: str) -> ArgumentParser:
    return ArgumentParser(
        prog=f"batchseal migrate {action}".strip(),
        description=description,
        epilog=codes,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


# --- check ------------------------------------------------------------------------------------------------------------


def check(arguments: Sequence[str]) -> int:
    parser = parser_of("check", CHECK, CHECK_CODES)
    parser.add_argument(
        "--docker-line",
        metavar="FILE",
        help="file with the command line (docker run ...); - reads it from standard input",
    )
    parser.add_argument(
        "--work-folder",
        type=Path,
        metavar="FOLDER",
        help="the original's work folder (default: what is mounted at /home)",
    )
    options = parser.parse_args(arguments)
    if options.docker_line is None and options.work_folder is None:
        parser.error("give --docker-line, or --work-folder, or both")
    return checked(options)


def checked(options: Namespace) -> int:
    """Prints the report and the new command line. Returns the exit code."""
    from batchseal.commands.migration.check import USER, WORK, Report, check_folder, check_line, new_line
    from batchseal.commands.migration.docker_line import read_docker_line
    from batchseal.commands.migration.work_folder import read_work_folder

    report, line, folder = Report(), None, options.work_folder
    if options.docker_line is not None:
        line = read_docker_line(text_of(options.docker_line))
        check_line(line, report)
        mount = line.mount_at(WORK)
        if folder is None and mount is not None and mount.source.startswith("/"):
            folder = Path(mount.source)
    if folder is not None:
        check_folder(read_work_folder(folder, USER), report)
    else:
        complain("the work folder was not looked at: it is a volume, or is not known; --work-folder names it")
    width = max(len(kind.value) for kind, _ in report.lines)
    for kind, text in sorted(report.lines, key=lambda one: one[0].name != "MISSING"):
        print(f"{kind.value:<{width}}  {text}")
    if line is not None:
        print(f"\nIn its place:\n\n{new_line(line)}")
    return 1 if report.missing else 0


def text_of(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"{file}: {problem}") from None


# --- references -------------------------------------------------------------------------------------------------------


def references(arguments: Sequence[str]) -> int:
    from batchseal.commands.databases import OF_DATABASE
    from batchseal.commands.settings_flags import parse, settings_parser

    used = ("work_folder", "client_services_file", "advertised_address", *OF_DATABASE)
    parser = settings_parser("migrate references", REFERENCES, used)
    parser.usage = "batchseal migrate references FILE.csv [--client-service ID] [--dry-run] [--FLAG=VALUE]..."
    parser.epilog = f"{parser.epilog}\n\n{REFERENCES_CODES}"
    parser.add_argument("file", type=Path, metavar="FILE.csv", help="the references, see above")
    parser.add_argument("--client-service", default="", metavar="ID", help="client service of lines that name none")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be marked")
    settings, options = parse(parser, arguments)

    from batchseal.commands.migration.references import read_references
    from batchseal.settings.client_services import ClientServices

    services = ClientServices.load(settings.services_file, settings.own_services_file, remarks=False)
    if not services.present:
        raise ConfigurationError(f"{settings.services_file} names no client services; whose references are these?")
    read = read_references(options.file, options.client_service, services.ids())
    for text in read.wrong[:SHOWN]:
        complain(f"{options.file}: {text}")
    if len(read.wrong) > SHOWN:
        complain(f"{options.file}: {len(read.wrong) - SHOWN} more lines cannot be used")
    print(asyncio.run(marked(settings, read.references, dry_run=options.dry_run)))
    return 1 if read.wrong else 0


async def marked(settings: "Settings", read: "Sequence[TakenReference]", *, dry_run: bool) -> str:
    """Marks the references, or counts those that are taken. Returns what to say."""
    from batchseal.commands.databases import open_store
    from batchseal.store.taken_references import TakenReferences

    async with open_store(settings) as store:
        table = TakenReferences(store.database, settings.advertised)
        done = 0
        for start in range(0, len(read), REFERENCES_AT_ONCE):
            some = read[start : start + REFERENCES_AT_ONCE]
            done += await table.taken(some) if dry_run else await table.mark(some)
    if dry_run:
        return f"{len(read)} references: {done} are taken already, {len(read) - done} would be marked"
    return f"{len(read)} references: {done} marked as taken, {len(read) - done} were taken already"


# --- contract ---------------------------------------------------------------------------------------------------------


def contract(arguments: Sequence[str]) -> int:
    parser = parser_of("contract", CONTRACT, CONTRACT_CODES)
    parser.add_argument("document", type=Path, metavar="OPENAPI.json", help="the vendor's document")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", default=Path("contract.toml"), help="where to write (default: %(default)s)"
    )
    options = parser.parse_args(arguments)

    from batchseal.api.contract import load_contract
    from batchseal.commands.migration.contract_import import as_toml, import_contract
    from batchseal.commands.migration.openapi_reading import read_openapi

    own = load_contract()
    imported = import_contract(read_openapi(options.document), own)
    try:
        with options.out.open("x", encoding="utf-8") as file:
            file.write(as_toml(imported, own, options.document.name))
    except FileExistsError:
        raise ConfigurationError(
            f"--out: {options.out} is there already, perhaps with changes of yours; name another file"
        ) from None
    except OSError as problem:
        raise ConfigurationError(f"--out: {options.out}: {problem.strerror}") from None
    load_contract(str(options.out))  # what was written can be used
    groups = {
        "the same": imported.same,
        "alike, look at it": imported.alike,
        "not in the document": imported.unmatched,
        "not answered here": imported.unknown,
    }
    for title, texts in groups.items():
        for text in texts:
            print(f"{title:<20}  {text}")
    print(
        f"\n{options.out} is written: {len(imported.same)} routes are the same, {len(imported.alike)} values are alike."
    )
    return 1 if imported.unmatched or imported.unknown else 0
