"""The command line: the table of commands, and `main`. Each command is a file of `commands/`.

Imports are late: `serve` must start fast and stay small, and what one command needs is never loaded for another.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from batchseal import __version__
from batchseal.commands.messages import complain
from batchseal.errors import BatchsealError

# Each is a module of batchseal.commands with `run(arguments)`, which returns the exit code.
COMMANDS = {
    "serve": "Run the service: take batches over REST, sign them, hand them back.",
    "sandbox": "Run a stand-in for the signing service (CSC, OAuth2, a certificate authority of its own).",
    "sign": "Send documents to a running service as one batch and store the signed ones.",
    "verify": "Check the signatures of PDF files with code that did not make them (pyHanko).",
    "audit": "Verify the chain of the audit trail, or export its entries as JSON lines.",
    "check": "Try what the service needs, and say for each what is wrong. Ends with 1 if anything is.",
    "size": "Print the memory, disk and database space that a load needs, and what the original product asks for.",
    "probe": "Ask a service on this machine whether it is ready; ends with 1 if not. For health checks of containers.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the process's exit code (2: wrong use, 1: it did not work out)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not arguments or arguments[0] not in COMMANDS:
            main_parser().parse_args(arguments or ["--help"])
            return 2
        code: int = import_module(f"batchseal.commands.{arguments[0]}").run(arguments[1:])
        return code
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
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
