"""The command line: the table of commands, and `main`. Each command is a file in `commands/`.

The file of a command is imported only when the command runs. `serve` must start fast and its process must stay small, so no
command loads what only another one needs.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from batchseal import __version__
from batchseal.commands.messages import complain
from batchseal.errors import BatchsealError

# Each name is a module of batchseal.commands with a function `run(arguments)`, which returns the exit code.
COMMANDS = {
    "serve": "Run the service: receive batches over HTTP, have them signed, return the signed documents.",
    "sandbox": "Run a replacement for the remote signing service, for trials.",
    "sign": "Send documents to a running service, and store the signed documents.",
    "verify": "Check the signatures of PDF, XML and CMS files, and name their levels.",
    "audit": "Check the audit trail, or export it.",
    "erase": "Remove the texts of an operation from the database.",
    "backup": "Write a backup of a running service into a folder.",
    "restore": "Put a backup into an empty folder, from which the service then starts.",
    "operator": "Make, list, change or remove the accounts of the operator's page.",
    "operations": "List operations, show one, have them signed again, cancelled, purged, or signed after a restore.",
    "credential": "List the credentials that sign, or renew the permission to use one.",
    "instances": "List the instances that use a database, or forget one that is lost.",
    "webhooks": "List what client services were told of, send events again, or try a webhook.",
    "compare": "Have two services sign the same documents, and say what differs.",
    "migrate": "Prepare a switch from the original product: a check, taken references, its addresses.",
    "check": "Try everything that the service needs, and say what is wrong.",
    "size": "Print the memory, disk and database space that a load needs.",
    "probe": "Ask the service on this machine whether it is ready, for health checks.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the process's exit code: 0 for success, 1 if the command failed, 2 for wrong use."""
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
    except BrokenPipeError:  # The reader of standard output has closed it, as `head` does.
        sys.stderr.close()
        return 141
    except OSError as problem:
        if arguments[:1] == ["serve"]:  # what the operating system refuses a service that runs needs the trace
            raise
        what = problem.strerror or str(problem) or type(problem).__name__
        complain(f"{problem.filename}: {what}" if problem.filename else what)
        return 2


def main_parser() -> argparse.ArgumentParser:
    """The parser for `batchseal --help` and `--version`, and for a wrong command."""
    parser = argparse.ArgumentParser(
        prog="batchseal",
        description="Batchseal signs batches of documents. For the flags of a command: batchseal COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"batchseal {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
