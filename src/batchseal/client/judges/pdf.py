"""Judges PAdES signatures for `batchseal verify`, with pyHanko: the signatures of a PDF, and what the level of the last one rests on.

Of levels LT and LTA, what the DSS dictionary holds and what document time stamps are about is read here (EN 319 142-1 5.4);
`levels` says what that means.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asn1crypto import cms

from batchseal.client.judges.levels import Holdings, judge_levels
from batchseal.client.judges.tokens import NOT_ABOUT_THIS, Token, certificates_in, members, read_token
from batchseal.client.judges.verdicts import Verdict, name_of, trust_in

DOCUMENT_TIME_STAMP = "/DocTimeStamp"
TIME_STAMP = "1.2.840.113549.1.9.16.2.14"
# The lists of a DSS dictionary (ISO 32000-2 12.8.4.3): certificates, OCSP responses, CRLs.
LISTS = "/Certs", "/OCSPs", "/CRLs"
# So many streams are read of one dictionary. Whoever makes a file can put any number of references into it.
MOST_STREAMS = 2_000
PROBLEMS = LookupError, TypeError, ValueError, AttributeError


def judge_pdf(path: Path, reader: Any, roots: Sequence[bytes]) -> Verdict:
    """The verdict on a PDF that pyHanko's `reader` has opened."""
    from pyhanko.sign.diff_analysis import ModificationLevel
    from pyhanko.sign.validation import validate_pdf_signature, validate_pdf_timestamp

    everything = reader.embedded_signatures
    signatures = [one for one in everything if one.sig_object_type != DOCUMENT_TIME_STAMP]
    if not signatures:
        return Verdict(path, False, problem="no signature")
    leaf = signatures[-1].signer_cert
    held = Dss(reader, signatures[-1]).read()
    reached = judge_levels(leaf.dump(), held, roots)
    trust, later_trust = trust_in(roots), trust_in(roots, reached.signed_at, reached.certificates)
    problems, statuses = list[str](), list[Any]()
    for number, signature in enumerate(everything, 1):
        if signature in signatures:
            statuses.append(validate_pdf_signature(signature, later_trust if signature is signatures[-1] else trust))
            status = statuses[-1]
        else:
            status = validate_pdf_timestamp(signature, trust)
        if not (status.intact and status.valid):
            problems.append(f"signature {number} is broken")
    last, end = statuses[-1], status
    coverage = last.coverage.name if last.coverage else ""
    # Behind a signature, validation material may stand and time stamps of documents, which have signatures of their own.
    is_whole = coverage == "ENTIRE_FILE" or (
        (held.claims_material or held.archives)
        and coverage == "ENTIRE_REVISION"
        and last.modification_level == ModificationLevel.LTA_UPDATES
    )
    if not is_whole or end.coverage is None or end.coverage.name not in ("ENTIRE_FILE", "ENTIRE_REVISION"):
        problems.append("the last signature does not cover the whole file")
    problems.extend(reached.findings.broken)
    if roots and not last.bottom_line and not problems:
        problems.append("the certificate does not lead to the root" if not last.trusted else last.summary())
    notes = [
        f"signature {n} by {name_of(s.signing_cert)}: its certificate does not lead to the root"
        for n, s in enumerate(statuses[:-1], 1)
        if roots and s.intact and s.valid and not s.trusted
    ]
    notes.extend(reached.findings.lacking)
    return Verdict(
        path,
        not problems,
        name_of(last.signing_cert),
        coverage,
        "; ".join(problems),
        len(statuses),
        "; ".join(notes),
        reached.level,
    )


class Dss:
    """What a PDF holds beside one of its signatures."""

    def __init__(self, reader: Any, signature: Any) -> None:
        self._reader, self._signature = reader, signature

    def read(self) -> Holdings:
        """What the signature holds. What of it cannot be read is broken."""
        held = Holdings(certificates=self._own_certificates())
        found = held.found
        try:
            held.stamps = self._time_stamps()
        except PROBLEMS as problem:
            found["T"].broken.append(f"the time stamp is broken: {problem}")
        try:
            self._read_material(held)
        except PROBLEMS as problem:
            found["LT"].broken.append(f"the DSS dictionary cannot be read: {problem}")
        try:
            self._read_archives(held)
        except PROBLEMS as problem:
            found["LTA"].broken.append(f"the document time stamp is broken: {problem}")
        return held

    def _own_certificates(self) -> list[bytes]:
        return certificates_in(members(self._signature.signed_data["certificates"]))

    def _time_stamps(self) -> list[Token]:
        found, signature = list[Token](), self._signature.signer_info["signature"].native
        for attribute in members(self._signature.signer_info["unsigned_attrs"]):
            for value in attribute["values"] if attribute["type"].dotted == TIME_STAMP else ():
                token = read_token(value.dump())
                if not token.is_about(lambda name: hashlib.new(name, signature).digest()):
                    raise ValueError(NOT_ABOUT_THIS)
                found.append(token)
        return found

    def _read_material(self, held: Holdings) -> None:
        """Takes what stands behind the signature: a dictionary in its own revision is not for it."""
        revision = self._signature.signed_revision
        now, then = streams(self._reader.root), self._streams_of(revision)
        if now != then:
            held.claims_material = True
            take(held, now)
        elif revision and then != self._streams_of(revision - 1):
            held.found["LT"].lacking.append("the DSS dictionary stands in the signature's own revision, not behind it")

    def _read_archives(self, held: Holdings) -> None:
        for stamp in self._reader.embedded_signatures:
            if stamp.sig_object_type != DOCUMENT_TIME_STAMP or stamp.signed_revision <= self._signature.signed_revision:
                continue
            # Behind the token, its room is filled with zeros.
            token = read_token(cms.ContentInfo.load(stamp.pkcs7_content).dump())
            if not token.is_about(stamp.compute_digest):
                raise ValueError(NOT_ABOUT_THIS)
            if stamp.evaluate_signature_coverage().name not in ("ENTIRE_FILE", "ENTIRE_REVISION"):
                raise ValueError("it does not cover the whole file as it was then")
            held.archives.append(token)
            held.archived = Holdings(list(held.stamps), self._own_certificates())
            take(held.archived, self._streams_of(stamp.signed_revision))

    def _streams_of(self, revision: int) -> list[list[bytes]]:
        """The material that was there when a revision was written."""
        return streams(self._reader.get_historical_resolver(revision).root)


def streams(root: Any) -> list[list[bytes]]:
    """What the DSS dictionary of a catalog holds: certificates, OCSP responses, CRLs. Raises ValueError and others."""
    dss = root["/DSS"] if "/DSS" in root else None
    if dss is None:
        return [[], [], []]
    lists = [dss[name] if name in dss else () for name in LISTS]
    if sum(map(len, lists)) > MOST_STREAMS:
        raise ValueError(f"it has more than {MOST_STREAMS} streams")
    return [[bytes(one.get_object().data) for one in each] for each in lists]


def take(held: Holdings, material: list[list[bytes]]) -> None:
    """Adds the material of a DSS dictionary."""
    certificates, responses, lists = material
    held.certificates = [*held.certificates, *certificates]
    held.responses = [*held.responses, *responses]
    held.lists = [*held.lists, *lists]
