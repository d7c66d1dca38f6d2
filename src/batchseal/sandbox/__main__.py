"""The sandbox: a replacement for the remote signing service, on loopback. Runs until SIGTERM or SIGINT."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from batchseal.processes import lean  # noqa: F401  (must come before structlog: it keeps `rich` from being imported)
from batchseal.system import lean_aiohttp  # noqa: F401  (must come before aiohttp)

# isort: split
import structlog

from batchseal.errors import BatchsealError
from batchseal.sandbox.authority import KEY_BITS
from batchseal.sandbox.server import SandboxOptions, serve
from batchseal.system.parent import die_with_parent


def parse_arguments(arguments: Sequence[str]) -> tuple[SandboxOptions, int | None]:
    """The options, and the file descriptor to which the address is written; None for standard output."""
    parser = argparse.ArgumentParser(prog="batchseal sandbox", description=__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        help="for keys and certificates; validators need root.pem, and the certificates that revoked.txt names are revoked",
    )
    parser.add_argument(
        "--services", type=Path, required=True, help="client-services-config.json, which says who may sign"
    )
    parser.add_argument("--credential", choices=sorted(KEY_BITS), default="rsa3072", help="type of the signing keys")
    parser.add_argument("--latency", type=int, default=0, metavar="MS", help="delay of each call in milliseconds")
    parser.add_argument("--multisign", type=int, default=1000, help="largest number of digests in one call")
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="port on loopback; 0 takes the one that its certificates name, else a free one",
    )
    parser.add_argument("--scal", choices=("1", "2"), default="2", help="2: a grant is bound to its digests")
    parser.add_argument("--token-seconds", type=int, default=3600, help="lifetime of a bearer token in seconds")
    parser.add_argument("--grant-seconds", type=int, default=600, help="lifetime of a grant in seconds")
    parser.add_argument(
        "--status-seconds", type=int, default=86400, help="for how many seconds an OCSP answer or a CRL is valid"
    )
    parser.add_argument(
        "--ready-fd", type=int, help="file descriptor to write the address to, instead of standard output"
    )
    given = parser.parse_args(arguments)
    options = SandboxOptions(
        folder=given.folder,
        services_file=given.services,
        credential=given.credential,
        latency_ms=given.latency,
        multisign=given.multisign,
        port=given.port,
        token_seconds=given.token_seconds,
        grant_seconds=given.grant_seconds,
        status_seconds=given.status_seconds,
        scal=given.scal,
    )
    return options, given.ready_fd


async def run(options: SandboxOptions, ready_fd: int | None) -> None:
    """Serves until SIGTERM; also until SIGINT if no supervisor has started it (`ready_fd` is None)."""

    def announce(address: str) -> None:
        if ready_fd is None:
            print(address, flush=True)
        else:
            os.write(ready_fd, address.encode() + b"\n")
            os.close(ready_fd)

    serving = asyncio.ensure_future(serve(options, announce))
    if ready_fd is not None:  # Ctrl-C in the terminal reaches this process too; the supervisor decides when to end
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM,) if ready_fd is not None else (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until a signal arrives. Returns 0 after a signal, and 2 if the sandbox could not start."""
    options, ready_fd = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    if ready_fd is not None:  # started by a supervisor, so it must end with it
        die_with_parent()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        asyncio.run(run(options, ready_fd))
    except (BatchsealError, OSError) as problem:
        print(f"batchseal sandbox: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
