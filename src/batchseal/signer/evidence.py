"""What a run reads of documents that are signed, and how their evidence grows."""

from collections.abc import Sequence
from dataclasses import replace

from batchseal.document import Credential, Evidence, Prepared
from batchseal.errors import PayloadDamaged
from batchseal.formats.interface import NeedKind
from batchseal.payloads import records
from batchseal.payloads.operation import OperationReader


def with_answer(evidence: Evidence, kind: NeedKind, answer: bytes) -> Evidence:
    """The evidence with one more piece."""
    if kind is NeedKind.TIME_STAMP:
        return replace(evidence, time_stamps=(*evidence.time_stamps, answer))
    if kind is NeedKind.VALIDATION_MATERIAL:
        return replace(evidence, material=answer)
    return replace(evidence, archive_time_stamps=(*evidence.archive_time_stamps, answer))


def read_prepared(
    reader: OperationReader, ordinals: Sequence[int], credentials: dict[bytes, Credential]
) -> dict[int, tuple[Prepared, Credential] | PayloadDamaged]:
    """Blocking. Each document with the credential that it was prepared for; one whose record is damaged costs itself alone.

    Credentials that are read are added to `credentials`.
    """
    found: dict[int, tuple[Prepared, Credential] | PayloadDamaged] = {}
    shared = records.SharedContents(reader)
    for ordinal in ordinals:
        try:
            one = records.read_prepared(reader, ordinal, shared)
            if one.fingerprint not in credentials:
                credentials[one.fingerprint] = records.read_credential(reader, one.fingerprint)
            found[ordinal] = one, credentials[one.fingerprint]
        except PayloadDamaged as problem:
            found[ordinal] = problem
    return found
