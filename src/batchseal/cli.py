"""The command line: `batchseal serve | sandbox | sign | verify | check`.

Flags of `serve` and `check` are made from `config.OPTIONS`. Imports are late: `serve` must start fast and
stay small, and what one command needs is never loaded for another.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from batchseal import __version__
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import read_settings, settings_parser
from batchseal.errors import BatchsealError
from batchseal.settings.load import OPTIONS, load_settings

SERVE = "Run the service: take batches over REST, sign them, hand them back."
CHECK = "Try what the service needs, and say for each what is wrong. Ends with 1 if anything is."
SIGN = "Send documents to a running service as one batch and store the signed ones."
VERIFY = "Check the signatures of PDF files with code that did not make them (pyHanko)."
AUDIT = "Verify the chain of the audit trail, or export its entries as JSON lines."
PROBE = "Ask a service on this machine whether it is ready; ends with 1 if not. For health checks of containers."
SANDBOX = "Run a stand-in for the signing service (CSC, OAuth2, a certificate authority of its own)."

SIZE = "Print the memory, disk and database space that a load needs, and what the original product asks for."

PATHS = "PDF files, or folders whose *.pdf are taken"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the process's exit code (2: wrong use, 1: it did not work out)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = COMMANDS.get(arguments[0]) if arguments else None
    try:
        if command is None:
            main_parser().parse_args(arguments or ["--help"])
            return 2
        return command[0](arguments[1:])
    except BatchsealError as problem:
        complain(problem.cause)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        return 141


def main_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="batchseal",
        description="Batchseal signs batches of documents. `batchseal COMMAND --help` tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"batchseal {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


# --- the commands ------------------------------------------------------------------------------------------


def serve(arguments: Sequence[str]) -> int:
    settings = read_settings("serve", SERVE, arguments)
    from batchseal.processes.supervisor import run

    run(settings)
    return 0


def check(arguments: Sequence[str]) -> int:
    settings = read_settings("check", CHECK, arguments)
    from batchseal.commands.check import run

    return run(settings)


def probe(arguments: Sequence[str]) -> int:
    settings = read_settings("probe", PROBE, arguments)
    from batchseal.client.probe import run

    return run(settings)


def sandbox(arguments: Sequence[str]) -> int:
    from batchseal.sandbox.__main__ import main as run

    return run(list(arguments)) or 0


def sign(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="batchseal sign", description=SIGN, allow_abbrev=False)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=PATHS)
    services_file = load_settings({}).services_file
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the service (default: %(default)s)")
    parser.add_argument("--client-id", default="", help="client service (default: the first of --services-file)")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--secret-file", type=Path, help="file with the secret (or environment: BATCHSEAL_SECRET)")
    secret.add_argument(
        "--services-file",
        type=Path,
        default=services_file,
        help="the service's configuration, to take the secret from (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path("signed"), help="where to (default: %(default)s)")
    parser.add_argument("--reference", default="", help="external reference of the batch (default: a new one)")
    parser.add_argument("--description", default="batchseal sign", help="of the batch (default: %(default)s)")
    parser.add_argument("--reason", default="", help="reason that each signature states")
    parser.add_argument("--location", default="", help="location that each signature states")
    options = parser.parse_args(arguments)
    from batchseal.commands.sign import run

    return run(options)


def audit(arguments: Sequence[str]) -> int:
    parser = settings_parser("audit", AUDIT)
    parser.usage = "batchseal audit verify [FILE...] | batchseal audit export [--out FILE]   [--temp-folder FOLDER]..."
    parser.add_argument("action", choices=("verify", "export"))
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="exported files, in their order")
    parser.add_argument("--out", type=Path, help="where to; else to standard output")
    options = parser.parse_args(arguments)
    settings = load_settings({name: text for name in OPTIONS if (text := getattr(options, name)) is not None})
    from batchseal.commands.audit import run

    return run(settings, options)


def verify(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="batchseal verify", description=VERIFY, allow_abbrev=False)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=PATHS)
    parser.add_argument(
        "--root", type=Path, action="append", default=[], help="PEM file of a trusted root (repeatable)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that check (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="show only what is wrong, and the total")
    options = parser.parse_args(arguments)
    from batchseal.commands.verify import run

    return run(options)


def size(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="batchseal size", description=SIZE, allow_abbrev=False)
    parser.add_argument("--documents", type=int, default=20_000, help="files in flight (default: %(default)s)")
    parser.add_argument("--average", default="200KB", help="their average size (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=8, help="requests at once (default: %(default)s)")
    options = parser.parse_args(arguments)
    from batchseal.settings.sizing import parse_bytes, report

    if min(options.documents, options.requests) < 1:
        parser.error("--documents and --requests must be at least 1")
    print(report(options.documents, parse_bytes(options.average), options.requests))
    return 0


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "serve": (serve, SERVE),
    "sandbox": (sandbox, SANDBOX),
    "sign": (sign, SIGN),
    "verify": (verify, VERIFY),
    "audit": (audit, AUDIT),
    "check": (check, CHECK),
    "size": (size, SIZE),
    "probe": (probe, PROBE),
}

if __name__ == "__main__":
    sys.exit(main())
