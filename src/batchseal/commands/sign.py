"""`batchseal sign`: sends documents to a service. Shows a progress bar for each step and a line for each refused document."""

import secrets
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from batchseal.client.batch import BatchBody, Wishes, find_documents, split_batches
from batchseal.client.http import Client
from batchseal.client.seal import BatchResult, seal_batch
from batchseal.client.visible_options import add_visible_options, visible_info
from batchseal.commands.caller_secret import credentials
from batchseal.commands.messages import complain
from batchseal.errors import LocalFileError, RequestFailed
from batchseal.settings.load import load_settings

DESCRIPTION = """
Send files to a running service, wait until they are signed, and store the signed files. The original files are
never changed. More than 2,500 files or 1 GiB are sent as several batches, one after the other.

PDF files get a PAdES signature, XML files one of XAdES, and other files one of CAdES, in a file whose name ends in
.p7m (the document is in it) or .p7s (it is not). --signature-type asks for one type for all files."""

EXIT_CODES = """
Exit code: 0 if every file was signed (and has its evidence record, where --evidence-record asks for one), 1 if a file was
refused, could not be read or written, or the service did not do its work, 2 for wrong use."""

STEPS = {"upload": "Sending", "sign": "Signing", "download": "Fetching"}


class StepBars:
    """A progress bar for each step. Nothing is shown if the output is not a terminal."""

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
        """Shows how much of the step's total is done; a `client.seal.Report`."""
        task = self._tasks[step]
        self.progress.start_task(task)
        self.progress.update(task, completed=done, total=total)


def run(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(
        prog="batchseal sign",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file, or folder with *.pdf files")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="address of the service (default: %(default)s)")
    parser.add_argument(
        "--client-id",
        default="",
        metavar="ID",
        help="client service to sign as (default: the first one in --services-file)",
    )
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help="file with the secret of --client-id (default: the secret in the environment variable BATCHSEAL_SECRET)",
    )
    secret.add_argument(
        "--services-file",
        type=Path,
        metavar="FILE",
        default=load_settings({}).services_file,
        help="client-services-config.json of the service; used if no secret is given (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        default=Path("signed"),
        help="folder for the signed files (default: %(default)s)",
    )
    parser.add_argument(
        "--reference", default="", metavar="TEXT", help="external reference of the batch (default: a new one)"
    )
    parser.add_argument(
        "--description",
        default="batchseal sign",
        metavar="TEXT",
        help="description of the batch (default: %(default)s)",
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="reason that is stated in each signature")
    parser.add_argument("--location", default="", metavar="TEXT", help="location that is stated in each signature")
    add_signature_options(parser)
    add_visible_options(parser)
    add_evidence_options(parser)
    return sign(parser.parse_args(arguments))


def add_signature_options(parser: ArgumentParser) -> None:
    """What is asked of the signatures. What is not given is left to the service."""
    group = parser.add_argument_group("signatures")
    group.add_argument(
        "--signature-type",
        choices=("PAdES", "XAdES", "CAdES"),
        default="",
        help="type of all signatures (default: by the name of each file); a folder then means its *.pdf, its *.xml, or all files",
    )
    group.add_argument(
        "--level",
        choices=("B", "T", "LT", "LTA"),
        default="",
        help="lowest level of the signatures; T: with a time stamp; LT: also with answers about the revocation of all"
        " certificates; LTA: also with an archive time stamp over that",
    )
    group.add_argument(
        "--transform",
        choices=("ENVELOPED", "XPATH", "XPATH2_FILTER"),
        default="",
        help="XAdES: how the signature leaves itself out of what it covers",
    )
    group.add_argument(
        "--canonical",
        choices=("EXCLUSIVE", "EXCLUSIVE_WITH_COMMENTS"),
        default="",
        help="XAdES: the canonical form that is signed",
    )
    group.add_argument(
        "--location-xpath",
        default="",
        metavar="PATH",
        help="XAdES: the element that the signature goes into, such as ext:ExtensionContent or /Invoice/ext:UBLExtensions",
    )
    packaging = group.add_mutually_exclusive_group()
    for name, text in (("attached", "the document is in the file with the signature"), ("detached", "it is not")):
        packaging.add_argument(
            f"--{name}", dest="packaging", action="store_const", const=name.upper(), default="", help=f"CAdES: {text}"
        )


def add_evidence_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("evidence records (RFC 4998)")
    group.add_argument(
        "--evidence-record",
        action="store_true",
        help="also store, beside each signed file, a record FILE.ers that proves when the file existed; all files of a batch"
        " share one time stamp",
    )
    group.add_argument(
        "--evidence-wait",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="wait so long for the records of a batch once its files are there (default: %(default)g)",
    )


def sign(options: Namespace) -> int:
    """Signs the documents, and returns the exit code: 0 if all are signed, else 1. Raises ConfigurationError for wrong use."""
    console = Console(highlight=False)
    documents = find_documents(options.paths, options.signature_type)
    wishes = Wishes(
        options.reason,
        options.location,
        options.level,
        options.packaging,
        options.transform,
        options.canonical,
        options.location_xpath,
        visible_info(options),
        options.evidence_record,
    )
    client_id, secret = credentials(options.client_id, options.secret_file, options.services_file)
    batches = split_batches(documents, bytes_each=wishes.bytes_each)
    reference = options.reference or f"cli {time.strftime('%Y-%m-%dT%H:%M:%S')} {secrets.token_hex(4)}"
    results: list[BatchResult] = []
    client = Client(options.url, client_id, secret)
    try:
        for number, batch in enumerate(batches, 1):
            name = reference if len(batches) == 1 else f"{reference} {number}/{len(batches)}"
            body = BatchBody(batch, name, options.description, wishes)
            bars = StepBars(console)
            with bars.progress:
                results.append(seal_batch(client, body, options.out, bars.report, record_seconds=options.evidence_wait))
            show_refused(console, results[-1])
    except (RequestFailed, LocalFileError) as problem:
        Console(stderr=True, highlight=False).print(f"batchseal: {problem.cause}", markup=False, soft_wrap=True)
        return 1
    finally:
        client.close()
        if results:
            show_total(console, results, options.out)
        if client.sandbox_signs:
            complain("warning: the service signs with its sandbox; these signatures are for tests only")
    return 1 if any(result.refused or result.unrecorded for result in results) else 0


def show_refused(console: Console, result: BatchResult) -> None:
    for refused in result.refused:
        line = f"refused  {refused.document.path}: {refused.cause or 'no reason given'} ({refused.sign_error})"
        console.print(line, markup=False, soft_wrap=True)
    if result.unrecorded:
        line = f"{len(result.unrecorded)} signed files have no evidence record: {result.record_problem}"
        console.print(line, markup=False, soft_wrap=True)


def show_total(console: Console, results: list[BatchResult], out: Path) -> None:
    signed = sum(len(result.signed) for result in results)
    refused = sum(len(result.refused) for result in results)
    seconds = sum(sum(result.seconds.values()) for result in results)
    text = f"{signed} signed, {refused} refused, {seconds:.1f} s; signed files in {out}"
    console.print(text, markup=False, soft_wrap=True)
