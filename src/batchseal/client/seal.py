"""Signs a batch: from files to signed files. The steps are 1 register, 2 follow, 3 fetch, 4 store.

A callback is told the progress of each step.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchseal.client.archive import Source, read_entries
from batchseal.client.batch import BatchBody, Document
from batchseal.client.files import PartFile
from batchseal.client.http import BatchStatus, Client, DocumentResult
from batchseal.errors import ConfigurationError, RequestFailed

# How long the service may delay a status reply until the operation has finished.
WAIT_SECONDS = 2
# The shortest time between two status requests, in case the service replies at once.
POLL_SECONDS = 0.25

# What CAdES signatures are called, with their document in them and beside it.
ATTACHED, DETACHED = ".p7m", ".p7s"
# What the service puts behind the name of an entry whose evidence record follows it.
RECORD = ".ers"
# How the service answers for a record that waits for its time stamp, for one that never comes, and for a document without one.
PENDING, GIVEN_UP, WITHOUT = 409, 410, 404
CMS_SUFFIXES = {"application/pkcs7-mime": ATTACHED, "application/pkcs7-signature": DETACHED}

# Called with the step, with what is done, and with the total: bytes for "upload" and "download", documents for "sign".
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class RefusedDocument:
    """A document that was not signed. `sign_error` is the contract's code, `cause` the reason in words."""

    document: Document
    sign_error: str
    cause: str


@dataclass(slots=True)
class BatchResult:
    """How a batch ended. `signed` holds the signed files; `seconds` maps each step to its duration.

    `unrecorded` are the signed files without the evidence record that was asked for, for the reason `record_problem`.
    """

    operation_id: int
    status: str
    signed: list[Path] = field(default_factory=list)
    refused: list[RefusedDocument] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    unrecorded: list[Path] = field(default_factory=list)
    record_problem: str = ""


def seal_batch(
    client: Client,
    body: BatchBody,
    out: Path,
    report: Report,
    *,
    poll_seconds: float = POLL_SECONDS,
    record_seconds: float = 0.0,
) -> BatchResult:
    """Has the documents of `body` signed, and stores the signed files in the folder `out` under the documents' names.

    Where evidence records are asked for, each is stored beside its file. They follow the files within `record_seconds`, or not.
    Raises RequestFailed, LocalFileError, or ConfigurationError if a signed file would replace its original.
    """
    check_target(body.documents, out)
    started = time.monotonic()
    # 1 register
    total = body.total_bytes
    sent = 0

    def count(more: int) -> None:
        nonlocal sent
        sent += more
        report("upload", min(sent, total), total)

    client.register(body, count)
    registered = time.monotonic()
    # 2 follow
    status = follow(client, body, report, poll_seconds)
    finished = time.monotonic()
    # 3 fetch, 4 store
    result = BatchResult(status.operation_id, status.status)
    stored, recorded = fetch(client, body.documents, out, result, report)
    if body.wishes.evidence_record:
        missing = {ordinal: path for ordinal, path in stored.items() if ordinal not in recorded}
        result.record_problem = fetch_records(client, result.operation_id, missing, record_seconds, poll_seconds)
        result.unrecorded = list(missing.values())
    result.seconds = {
        "upload": registered - started,
        "sign": finished - registered,
        "download": time.monotonic() - finished,
    }
    return result


def check_target(documents: Sequence[Document], out: Path) -> None:
    """Makes the folder `out`. Raises ConfigurationError if a signed file would replace its original."""
    out.mkdir(parents=True, exist_ok=True)
    for document in documents:
        target = out / document.name
        if target.exists() and target.samefile(document.path):
            raise ConfigurationError(f"--out: {target} is one of the files to sign; choose another folder")


def follow(client: Client, body: BatchBody, report: Report, poll_seconds: float = POLL_SECONDS) -> BatchStatus:
    """Asks for the status until the operation has finished, and returns it. Raises RequestFailed."""
    while True:
        asked = time.monotonic()
        status = client.status(body.external_reference, WAIT_SECONDS)
        report("sign", status.documents_done, len(body.documents))
        if status.finished:
            report("sign", len(body.documents), len(body.documents))
            return status
        time.sleep(max(0.0, poll_seconds - (time.monotonic() - asked)))


def fetch(
    client: Client, documents: Sequence[Document], out: Path, result: BatchResult, report: Report
) -> tuple[dict[int, Path], set[int]]:
    """Fetches and stores the signed documents, and adds all documents to `result`. Raises RequestFailed.

    Returns the signed files by the ordinals of their documents, and which of these came with an evidence record.
    """
    outcomes = client.results(result.operation_id)
    if len(outcomes) != len(documents):
        raise RequestFailed(f"the result has {len(outcomes)} documents, but {len(documents)} were sent")
    total = sum(outcome.signed_bytes or 0 for outcome in outcomes)
    missing = {ordinal for ordinal, outcome in enumerate(outcomes) if outcome.signed_bytes is not None}
    stored: dict[int, Path] = {}
    recorded = set[int]()

    def unpack(reply: Source) -> None:
        got = 0
        for ordinal, path in unpack_archive(reply, documents, outcomes, out, recorded):
            stored[ordinal] = path
            got += outcomes[ordinal].signed_bytes or 0
            report("download", got, total)

    if missing:
        client.fetch_archive(result.operation_id, unpack)
    for ordinal in sorted(missing - stored.keys()):
        # A signed document that is not in the archive was damaged in storage. Asked for it alone, the service says why.
        try:
            stored[ordinal] = fetch_one(client, result.operation_id, ordinal, out / documents[ordinal].name)
        except RequestFailed as problem:
            result.refused.append(RefusedDocument(documents[ordinal], "STORAGE_SERVICE_GLOBAL_ERROR", problem.cause))
    for document, outcome in zip(documents, outcomes, strict=True):
        if outcome.signed_bytes is None:
            cause = outcome.cause.removeprefix(f"{document.name}: ")  # The command prints the name itself.
            result.refused.append(RefusedDocument(document, outcome.sign_error, cause))
    result.signed = [stored[ordinal] for ordinal in sorted(stored)]
    report("download", total, total)
    return stored, recorded


def fetch_records(
    client: Client, operation_id: int, missing: dict[int, Path], wait_seconds: float, poll_seconds: float
) -> str:
    """Fetches the evidence records of these documents, and stores each beside its file. Takes those out of `missing` that came.

    Waits for them no longer than `wait_seconds`. Returns why some did not come. Raises RequestFailed where the service is away.
    """
    for path in missing.values():
        # One that is there is about what was called so before.
        path.with_name(path.name + RECORD).unlink(missing_ok=True)
    ends, why = time.monotonic() + wait_seconds, ""
    for ordinal, path in list(missing.items()):
        while True:
            try:
                with PartFile(path.with_name(path.name + RECORD)) as file:
                    client.fetch_record(operation_id, ordinal, file)
                del missing[ordinal]
                break
            except RequestFailed as problem:
                if problem.status == PENDING and time.monotonic() < ends:
                    time.sleep(min(problem.retry_after_seconds or poll_seconds, max(0.0, ends - time.monotonic())))
                elif problem.status in (PENDING, GIVEN_UP):
                    return problem.cause  # it is the same for all of them
                elif problem.status == WITHOUT:
                    why = problem.cause
                    break
                else:
                    raise
    return why


def unpack_archive(
    reply: Source, documents: Sequence[Document], outcomes: Sequence[DocumentResult], out: Path, recorded: set[int]
) -> Iterator[tuple[int, Path]]:
    """Stores the entries as they arrive, and yields the ordinal and the file of each.

    An entry's name begins with the document's external reference, which begins with the ordinal (`document_reference`). An
    evidence record is stored beside the document before it, whose ordinal `recorded` gets. Raises RequestFailed.
    """

    def ordinal_of(name: str) -> int:
        digits = name.partition("-")[0]
        ordinal = int(digits) if digits.isascii() and digits.isdigit() else len(outcomes)
        if ordinal >= len(outcomes) or outcomes[ordinal].signed_bytes is None:
            raise RequestFailed(f"the result has an unexpected entry: {name!r}")
        return ordinal

    def suffix_of(name: str) -> str:
        """What the service puts behind the name of a document that is of another type than its original."""
        is_cms = documents[ordinal_of(name)].signature_type == "CAdES"
        return name[-4:] if is_cms and name.endswith((ATTACHED, DETACHED)) else ""

    before = ""  # the entry before, where it is a document
    target = out

    def size_of(name: str) -> int | None:
        if before and name == before + RECORD:
            return None
        outcome = outcomes[ordinal_of(name)]
        return outcome.added_bytes if suffix_of(name) == DETACHED else outcome.signed_bytes or 0

    for name, content in read_entries(reply, size_of):
        is_record = bool(before) and name == before + RECORD
        ordinal = ordinal_of(name)
        target = (
            target.with_name(target.name + RECORD) if is_record else out / (documents[ordinal].name + suffix_of(name))
        )
        with PartFile(target) as file:
            for piece in content:
                file.write(piece)
        before = "" if is_record else name
        if is_record:
            recorded.add(ordinal)
        else:
            yield ordinal, target


def fetch_one(client: Client, operation_id: int, ordinal: int, target: Path) -> Path:
    part = PartFile(target)
    with part as file:
        suffix = CMS_SUFFIXES.get(client.fetch_document(operation_id, ordinal, file), "")
        part.target = target.with_name(target.name + suffix)
    return part.target
