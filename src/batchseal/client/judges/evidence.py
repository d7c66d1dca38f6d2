"""Judges evidence records (RFC 4998) for `batchseal verify`: a time stamp over the root of a tree of digests, one of which
is that of the file beside the record; and the time stamps that renew it.

The parser and the judgement share nothing with the code that writes records.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from asn1crypto import algos, cms, core, x509

from batchseal.client.judges.revocation import CLOCK
from batchseal.client.judges.tokens import IMPRINTS, Token, is_known, read_token
from batchseal.client.judges.verdicts import Verdict, name_of

SUFFIX = ".ers"
# A record of 10,000 documents has a few hundred bytes beside its token; renewed once a year, it grows by a token each time.
MOST_BYTES, MOST_TIME_STAMPS = 16 << 20, 200


class PartialHashtree(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.OctetString


class ReducedHashtree(core.SequenceOf):  # type: ignore[misc]
    _child_spec = PartialHashtree


class ArchiveTimeStamp(core.Sequence):  # type: ignore[misc]
    """RFC 4998 4.1."""

    _fields = [  # noqa: RUF012
        ("digest_algorithm", algos.DigestAlgorithm, {"implicit": 0, "optional": True}),
        ("attributes", cms.CMSAttributes, {"implicit": 1, "optional": True}),
        ("reduced_hashtree", ReducedHashtree, {"implicit": 2, "optional": True}),
        ("time_stamp", cms.ContentInfo),
    ]


class ArchiveTimeStampChain(core.SequenceOf):  # type: ignore[misc]
    _child_spec = ArchiveTimeStamp


class ArchiveTimeStampSequence(core.SequenceOf):  # type: ignore[misc]
    _child_spec = ArchiveTimeStampChain


class DigestAlgorithms(core.SequenceOf):  # type: ignore[misc]
    _child_spec = algos.DigestAlgorithm


class EvidenceRecord(core.Sequence):  # type: ignore[misc]
    """RFC 4998 3.1."""

    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("digest_algorithms", DigestAlgorithms),
        ("crypto_infos", core.SequenceOf, {"implicit": 0, "optional": True, "spec": core.Any}),
        ("encryption_info", core.Sequence, {"implicit": 1, "optional": True}),
        ("archive_time_stamp_sequence", ArchiveTimeStampSequence),
    ]


# The names of the fields above, as asn1crypto knows them.
RECORD_FIELDS = tuple(str(field[0]) for field in EvidenceRecord._fields)
TIME_STAMP_FIELDS = tuple(str(field[0]) for field in ArchiveTimeStamp._fields)


def is_record(start: bytes) -> bool:
    """Whether DER that begins like this is an evidence record: it begins with a version, a CMS with the name of its kind."""
    if start[:1] != b"\x30" or len(start) < 2:
        return False
    behind = 2 + (start[1] & 0x7F if start[1] & 0x80 else 0)
    return start[behind : behind + 1] == b"\x02"


def judge_evidence(path: Path, roots: Sequence[bytes]) -> Verdict:
    """The verdict on a record, which lies beside the file that it is about: `<name>.ers` beside `<name>`.

    Raises ValueError and others for what cannot be read.
    """
    if path.suffix.lower() != SUFFIX:
        return Verdict(
            path, False, problem=f"it is an evidence record, whose name must be that of a file with {SUFFIX}"
        )
    document = path.with_suffix("")
    if not document.is_file():
        return Verdict(path, False, problem=f"the record is about {document}, which is not there")
    if path.stat().st_size > MOST_BYTES:
        return Verdict(path, False, problem=f"the record has more than {MOST_BYTES} bytes")
    record = EvidenceRecord.load(path.read_bytes(), strict=True)
    problems, covers = list[str](), f"the file {document.name}"
    if record["version"].native != 1 or not is_known(record, RECORD_FIELDS):
        return Verdict(path, False, problem="the record has parts that are not known")
    if not isinstance(record["encryption_info"], core.Void):
        return Verdict(path, False, problem="the record is about an encrypted form of the file")
    tokens = list[Token]()
    try:
        for token, digests in _time_stamps(record["archive_time_stamp_sequence"], document):
            tokens.append(token)
            if not any(_is_about(token, digest) for digest in digests):
                raise ValueError("its time stamp is about something else, or is broken")
    except ValueError as problem:
        return Verdict(path, False, "", covers, str(problem))
    times = [token.time for token in tokens]
    if any(later < earlier - CLOCK for earlier, later in pairwise(times)):
        problems.append("a time stamp is older than the one that it renews")
    if roots and not problems:
        problems += _untrusted(tokens, roots)
    signer = name_of(x509.Certificate.load(tokens[-1].signer))
    # Without a root, nobody is known to vouch for the time.
    note = f"{'' if roots else 'its time stamp says that '}the file existed on {times[0]:%Y-%m-%d at %H:%M:%S} UTC"
    return Verdict(path, not problems, signer, covers, "; ".join(problems), len(tokens), "" if problems else note)


def _time_stamps(chains: Any, document: Path) -> Iterator[tuple[Token, list[bytes]]]:
    """Each time stamp, and the digests of which it must be about one (RFC 4998 4.3 and 5.3). Raises ValueError."""
    if not len(chains) or sum(map(len, chains)) > MOST_TIME_STAMPS or not all(len(chain) for chain in chains):
        raise ValueError(f"it has no time stamp, or more than {MOST_TIME_STAMPS}")
    for number, chain in enumerate(chains):
        algorithm = _algorithm(chain[0])
        start = _digest_of(document, algorithm)
        if number:
            # The tree was renewed: its leaf joins the file and all chains before (RFC 4998 5.2).
            before = ArchiveTimeStampSequence([chains[at] for at in range(number)]).dump()
            start = hashlib.new(algorithm, start + hashlib.new(algorithm, before).digest()).digest()
        for stamp in chain:
            if _algorithm(stamp) != algorithm or not is_known(stamp, TIME_STAMP_FIELDS):
                raise ValueError("the time stamps of a chain have different algorithms, or parts that are not known")
            token = read_token(stamp["time_stamp"].dump())
            if token.digest_name != algorithm:
                raise ValueError("a time stamp has another algorithm than its tree")
            yield token, _roots_of(stamp["reduced_hashtree"], start, algorithm)
            # A renewed time stamp is about the one before (RFC 4998 5.2).
            start = hashlib.new(algorithm, stamp["time_stamp"].dump()).digest()


def _roots_of(tree: Any, digest: bytes, algorithm: str) -> list[bytes]:
    """What a time stamp over the digest must be about, by a reduced tree (RFC 4998 4.3, steps 1 to 4). Raises ValueError.

    Of a first list with one digest, implementations take either the digest or that of the list.
    """
    if isinstance(tree, core.Void) or not len(tree):
        return [digest]
    lists = tree.native
    if digest not in lists[0]:
        raise ValueError("it is about another file, or the file was changed")
    nodes = [hashlib.new(algorithm, b"".join(sorted(lists[0]))).digest()]
    if len(lists[0]) == 1:
        nodes.append(digest)
    for others in lists[1:]:
        nodes = [hashlib.new(algorithm, b"".join(sorted({*others, node}))).digest() for node in nodes]
    return nodes


def _algorithm(stamp: Any) -> str:
    """The algorithm of the digests of a tree: that of its time stamp where the field is absent (RFC 4998 4.1)."""
    named = stamp["digest_algorithm"]
    is_absent = isinstance(named, core.Void)
    name = read_token(stamp["time_stamp"].dump()).digest_name if is_absent else str(named["algorithm"].native)
    if name not in IMPRINTS:
        raise ValueError(f"it uses {name}, which proves nothing")
    return name


def _digest_of(document: Path, algorithm: str) -> bytes:
    with document.open("rb") as file:
        return hashlib.file_digest(file, algorithm).digest()


def _is_about(token: Token, digest: bytes) -> bool:
    return token.is_about(lambda name: digest)


def _untrusted(tokens: Sequence[Token], roots: Sequence[bytes]) -> list[str]:
    """The certificate of each time stamp had to be valid when the next one was given; that of the last one is judged now."""
    others = [der for token in tokens for der in token.certificates]
    moments: list[datetime | None] = [*(token.time for token in tokens[1:]), None]
    if all(token.is_trusted(roots, others, moment) for token, moment in zip(tokens, moments, strict=True)):
        return []
    return ["the time stamp's certificate does not lead to the root"]
