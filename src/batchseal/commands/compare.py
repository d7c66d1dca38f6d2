"""`batchseal compare`: has two services sign the same documents, and says what differs."""

import json
import secrets
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from batchseal.client.batch import find_documents
from batchseal.commands.caller_secret import credentials, read_text
from batchseal.commands.comparison.run import Comparison, Slower
from batchseal.commands.comparison.sides import Side
from batchseal.commands.messages import complain, confirmed
from batchseal.errors import ConfigurationError, RequestFailed
from batchseal.settings.load import load_settings

DESCRIPTION = """
Send the same documents to two services, such as the original product and this one before a switch, and show side by
side what differs: HTTP statuses, fields and their values, times, and what can be seen of the signatures (type,
algorithms, attributes, level, appearance). Before that, calls that must be refused show how each service refuses.

EVERY DOCUMENT COSTS A SIGNATURE AT BOTH SERVICES; with --also-async, two. The command says how many and asks before
it begins. It uses references of its own, which begin with --prefix. Nothing that exists is changed.

A difference counts if a client could notice it: a field that is missing or has another type or value, another
status, a signature of another kind, a new service that is slower. Other differences are notes."""

EXIT_CODES = """
Exit code: 0 if nothing counts, 1 if something does or a service did not answer, 2 for wrong use, 3 if the question
whether to go on was declined, so that nothing was sent."""
DECLINED = 3


def run(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(
        prog="batchseal compare",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="DOC", help="file, or folder with *.pdf files")
    add_services(parser)
    group = parser.add_argument_group("what is sent")
    group.add_argument(
        "--signature-type",
        choices=("PAdES", "XAdES", "CAdES"),
        default="",
        help="type of all signatures (default: by the name of each file)",
    )
    group.add_argument(
        "--signature-info",
        type=Path,
        metavar="FILE",
        help="JSON object with what else signatureInfo asks for, as your integration sends it (reason, visibleSignatureInfo...)",
    )
    group.add_argument(
        "--also-async", action="store_true", help="sign each document a second time, by register, status and result"
    )
    group.add_argument(
        "--prefix", default="", metavar="TEXT", help="begin of the references (default: compare and the time)"
    )
    group.add_argument("--yes", action="store_true", help="do not ask before documents are sent")
    group = parser.add_argument_group("what is said")
    group.add_argument("--out", type=Path, metavar="FOLDER", help="keep the signed documents of both services here")
    group.add_argument("--json", type=Path, metavar="FILE", help="write what was found as JSON, too")
    group.add_argument(
        "--slower-factor",
        type=float,
        default=2.0,
        metavar="F",
        help="the new service is slower if it takes F times as long (default: %(default)g) ...",
    )
    group.add_argument(
        "--slower-seconds",
        type=float,
        default=0.3,
        metavar="S",
        help="... and S seconds more (default: %(default)g), in the median",
    )
    return compare(parser.parse_args(arguments))


def add_services(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("the two services")
    for name, text in (("old", "the service that answers today"), ("new", "the one that is to replace it")):
        group.add_argument(
            f"--{name}", required=True, metavar="URL", help=f"address of {text}; it may hold the base path"
        )
        group.add_argument(
            f"--{name}-client-id", default="", metavar="ID", help="client service there (default: --client-id)"
        )
        group.add_argument(
            f"--{name}-secret-file", type=Path, metavar="FILE", help="file with its secret (default: --secret-file)"
        )
        group.add_argument(
            f"--{name}-token-url",
            default="",
            metavar="URL",
            help="address that gives tokens, for a service that takes no Basic credentials, as the original does not",
        )
        group.add_argument(
            f"--{name}-contract",
            default="",
            metavar="FILE",
            help="contract.toml with the addresses there (see batchseal migrate contract)",
        )
    group.add_argument(
        "--client-id", default="", metavar="ID", help="client service (default: the first in --services-file)"
    )
    group.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help="file with its secret (default: the environment variable BATCHSEAL_SECRET)",
    )
    group.add_argument(
        "--services-file",
        type=Path,
        metavar="FILE",
        default=load_settings({}).services_file,
        help="client-services-config.json, used if no secret is given (default: %(default)s)",
    )


def compare(options: Namespace) -> int:
    """Runs the comparison and shows it. Returns the exit code. Raises ConfigurationError for wrong use."""
    documents = find_documents(options.paths, options.signature_type)
    old, new = (side_of(name, options) for name in ("old", "new"))
    prefix = options.prefix or f"compare {time.strftime('%Y-%m-%dT%H:%M:%S')} {secrets.token_hex(3)}"
    with ExitStack() as stack:
        out = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batchseal-compare-")))
        comparison = Comparison(
            old,
            new,
            documents,
            prefix,
            out,
            info=signature_info(options.signature_info),
            also_async=options.also_async,
            slower=Slower(options.slower_factor, options.slower_seconds),
        )
        if not options.yes:
            tell_cost(comparison, options)
            if not sys.stdin.isatty():
                complain("nobody can be asked here; --yes goes on without asking")
                return 2
            if not confirmed("Go on?"):
                return DECLINED
        try:
            comparison.run(lambda text: print(text, file=sys.stderr, flush=True))
        except RequestFailed as problem:
            complain(problem.cause)
            return 1
    show(comparison, options, len(documents))
    if not comparison.compared:
        complain("not one pair of signed documents could be compared")
        return 1
    return 1 if comparison.findings.differences else 0


def tell_cost(comparison: Comparison, options: Namespace) -> None:
    each = comparison.signatures
    print(f"This has {each} documents signed by {options.old} and the same by {options.new}.")
    print(f"It costs {each} signatures at each of the two, {2 * each} in all, if both are charged.")


def side_of(name: str, options: Namespace) -> Side:
    from batchseal.api.contract import load_contract

    given = vars(options)
    client_id = given[f"{name}_client_id"] or options.client_id
    file = given[f"{name}_secret_file"] or options.secret_file
    client_id, secret = credentials(client_id, file, options.services_file)
    contract = load_contract(given[f"{name}_contract"])
    return Side(name, given[name], client_id, secret, contract, token_url=given[f"{name}_token_url"])


def signature_info(path: Path | None) -> dict[str, Any]:
    """What signatureInfo holds beside the type of the signature, by that type. Raises ConfigurationError."""
    if path is None:
        return {}
    try:
        info = json.loads(read_text(path, "--signature-info"))
    except ValueError as problem:
        raise ConfigurationError(f"--signature-info: {path}: {problem}") from None
    if not isinstance(info, dict):
        raise ConfigurationError(f"--signature-info: {path} is not a JSON object")
    info = {key: value for key, value in info.items() if key != "signatureType"}
    return dict.fromkeys(("PAdES", "XAdES", "CAdES"), info)


def show(comparison: Comparison, options: Namespace, documents: int) -> None:
    """Prints the table and the total, and writes the JSON file."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    rows, differences = comparison.findings.rows(), comparison.findings.differences
    if rows:
        table = Table()
        for title in ("", "where", "what", "old", "new"):
            table.add_column(title, overflow="fold")
        for where, what, old, new, counts in rows:
            table.add_row("differs" if counts else "note", where, what, old, new)
        console.print(table, markup=False)
    for kind, (before, now) in comparison.times.taken.items():
        of_old, of_new = median(before), median(now)
        console.print(f"{kind}: old {of_old:.3f} s, new {of_new:.3f} s (median of {len(before)})", markup=False)
    notes = len(rows) - differences
    what = f"{differences} differences that a client could notice, {notes} notes"
    console.print(
        f"{documents} documents, {comparison.compared} pairs of signed documents: {what}", markup=False, soft_wrap=True
    )
    if options.json:
        names = ("where", "what", "old", "new", "counts")
        found = {"findings": [dict(zip(names, row, strict=True)) for row in rows], "differences": differences}
        options.json.write_text(json.dumps(found | {"compared": comparison.compared}, indent=2) + "\n")
