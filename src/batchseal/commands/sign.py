"""`batchseal sign`: a progress bar for each step, a line for each refused document."""

import json
import secrets
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from batchseal.client.batch import BatchBody, find_documents, split_batches
from batchseal.client.http import Client
from batchseal.client.seal import BatchResult, seal_batch
from batchseal.errors import ConfigurationError, RequestFailed
from batchseal.settings.load import client_secret, load_settings

DESCRIPTION = "Send documents to a running service as one batch and store the signed ones."
PATHS = "PDF files, or folders whose *.pdf are taken"

STEPS = {"upload": "Sending", "sign": "Signing", "download": "Fetching"}


class StepBars:
    """One bar a step on the terminal; nothing where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(40),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        self.progress = Progress(*columns, console=console)
        self._tasks = {step: self.progress.add_task(text, start=False, total=None) for step, text in STEPS.items()}

    def report(self, step: str, done: int, total: int) -> None:
        task = self._tasks[step]
        self.progress.start_task(task)
        self.progress.update(task, completed=done, total=total)


def run(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(prog="batchseal sign", description=DESCRIPTION, allow_abbrev=False)
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
    return sign(options)


def sign(options: Namespace) -> int:
    """Exit code 0 if all documents are signed, 1 if not; raises ConfigurationError for wrong use."""
    console = Console(highlight=False)
    documents = find_documents(options.paths)
    client_id, secret = credentials(options)
    batches = split_batches(documents)
    reference = options.reference or f"cli {time.strftime('%Y-%m-%dT%H:%M:%S')} {secrets.token_hex(4)}"
    results: list[BatchResult] = []
    client = Client(options.url, client_id, secret)
    try:
        for number, batch in enumerate(batches, 1):
            name = reference if len(batches) == 1 else f"{reference} {number}/{len(batches)}"
            body = BatchBody(batch, name, options.description, options.reason, options.location)
            bars = StepBars(console)
            with bars.progress:
                results.append(seal_batch(client, body, options.out, bars.report))
            show_refused(console, results[-1])
    except RequestFailed as problem:
        Console(stderr=True, highlight=False).print(f"batchseal: {problem.cause}", markup=False, soft_wrap=True)
        return 1
    finally:
        client.close()
        if results:
            show_total(console, results, options.out)
    return 1 if any(result.refused for result in results) else 0


def credentials(options: Namespace) -> tuple[str, str]:
    """Client service and secret: from --secret-file, else the environment, else the service's own file."""
    file = options.secret_file
    secret = read_text(file, "--secret-file").strip() if file else client_secret()
    if secret:
        if not options.client_id:
            raise ConfigurationError("--client-id says whose secret it is; it is missing")
        return options.client_id, secret
    try:
        services = json.loads(read_text(options.services_file, "--services-file"))
        client_id = options.client_id or next(iter(services))
        return client_id, str(services[client_id]["secret"])
    except (ValueError, LookupError, TypeError, StopIteration):
        who = f" of {options.client_id}" if options.client_id else ""
        raise ConfigurationError(f"--services-file: {options.services_file} holds no secret{who}") from None


def read_text(path: Path, flag: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"{flag}: {problem}") from None


def show_refused(console: Console, result: BatchResult) -> None:
    for refused in result.refused:
        line = f"refused  {refused.document.path}: {refused.cause or 'no reason given'} ({refused.sign_error})"
        console.print(line, markup=False, soft_wrap=True)


def show_total(console: Console, results: list[BatchResult], out: Path) -> None:
    signed = sum(len(result.signed) for result in results)
    refused = sum(len(result.refused) for result in results)
    seconds = sum(sum(result.seconds.values()) for result in results)
    text = f"{signed} signed, {refused} refused, {seconds:.1f} s; signed files in {out}"
    console.print(text, markup=False, soft_wrap=True)
