"""Says which level a signature reaches (EN 319 132-1 6, EN 319 122-1 6), from what its format has found in it.

T: a right time stamp over the signature. LT: in addition, material that is enough for the chains of the signer and of the time
stamp authority. LTA: in addition, a right archive time stamp over all that LT rests on. Each rests on the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

from batchseal.client.judges.material import Material
from batchseal.client.judges.revocation import CLOCK
from batchseal.client.judges.tokens import Token
from batchseal.client.judges.verdicts import Findings


def _findings() -> dict[str, Findings]:
    return {level: Findings() for level in ("T", "LT", "LTA")}


@dataclass(slots=True)
class Holdings:
    """What a signature holds beside its value: time stamps over the value, and material in DER.

    `claims_material`: it has parts that are there for level LT. `archives` are the archive time stamps in their order, and
    `archived` what the last one of them covers. `found` is by level what could not be read, or is not right: time stamps with a
    finding are not among the others.
    """

    stamps: list[Token] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)
    responses: list[bytes] = field(default_factory=list)
    lists: list[bytes] = field(default_factory=list)
    claims_material: bool = False
    archives: list[Token] = field(default_factory=list)
    archived: "Holdings | None" = None
    found: dict[str, Findings] = field(default_factory=_findings)

    def copy(self) -> "Holdings":
        """What is held so far, for `archived`."""
        return replace(
            self,
            stamps=list(self.stamps),
            certificates=list(self.certificates),
            responses=list(self.responses),
            lists=list(self.lists),
            archives=[],
            archived=None,
            found=_findings(),
        )

    def all_certificates(self) -> list[bytes]:
        """Those in time stamps included."""
        return [*self.certificates, *(der for one in (*self.stamps, *self.archives) for der in one.certificates)]

    def judge(self, leaf: bytes, roots: Sequence[bytes]) -> Findings:
        """What is broken, or lacking for level LT. `leaf` is the signer's certificate. There is a time stamp."""
        material = Material(
            self.all_certificates(),
            [*self.responses, *(der for one in self.stamps for der in one.responses)],
            [*self.lists, *(der for one in self.stamps for der in one.lists)],
            roots,
        )
        findings = Findings(broken=material.unreadable)
        moment = min(one.time for one in self.stamps)
        findings.add(material.judge(leaf, moment, revoked_later_is_fine=True))
        for one in self.stamps:
            findings.add(material.judge(one.signer, one.time, revoked_later_is_fine=False))
        return findings


@dataclass(frozen=True, slots=True)
class Reached:
    """The level that a signature reaches, and why none above.

    `signed_at` is the moment at which the signer's certificate had to be valid; None: now, since nothing shows that it was signed
    before. `certificates` (DER) may lead to a root.
    """

    level: str
    findings: Findings
    signed_at: datetime | None
    certificates: tuple[bytes, ...]


def judge_levels(leaf: bytes, held: Holdings, roots: Sequence[bytes]) -> Reached:
    """The level of a signature that is right itself. `leaf` is the signer's certificate (DER)."""
    level, found = "B", held.found
    wants_lta = bool(held.archives) or not found["LTA"].is_clean
    wants_lt = wants_lta or held.claims_material
    if held.stamps and found["T"].is_clean:
        level = "T"
        if wants_lt:
            found["LT"].add(held.judge(leaf, roots))
            level = "LT" if found["LT"].is_clean else level
        if wants_lta and level == "LT":
            found["LTA"].add(_judge_archives(leaf, held, roots))
            level = "LTA" if found["LTA"].is_clean else level
    elif wants_lt and found["T"].is_clean:
        found["T"].lacking.append("there is no time stamp over the signature")
    findings = Findings()
    for name, one in found.items():
        findings.broken.extend(f"level {name} is broken: {text}" for text in one.broken)
        findings.lacking.extend(f"level {name} is not reached: {text}" for text in one.lacking)
    certificates = tuple(dict.fromkeys(held.all_certificates()))
    if roots and not findings.broken:
        findings.broken.extend(_untrusted(held, certificates, roots, is_archived=level == "LTA"))
    signed_at = min(one.time for one in held.stamps) if level in ("LT", "LTA") else None
    return Reached(level, findings, signed_at, certificates)


def _judge_archives(leaf: bytes, held: Holdings, roots: Sequence[bytes]) -> Findings:
    """What is wrong with the archive time stamps of a signature that reaches level LT."""
    findings = Findings()
    times = [max(one.time for one in held.stamps), *(one.time for one in held.archives)]
    if any(later < earlier - CLOCK for earlier, later in pairwise(times)):
        findings.broken.append("an archive time stamp is older than what it covers")
    archived = held.archived
    if archived is not None and (len(archived.stamps) < len(held.stamps) or not archived.judge(leaf, roots).is_clean):
        findings.lacking.append("the archive time stamp does not cover all that level LT needs")
    return findings


def _untrusted(
    held: Holdings, certificates: Sequence[bytes], roots: Sequence[bytes], *, is_archived: bool
) -> list[str]:
    """Which time stamps do not lead to a root.

    The certificate of each had to be valid when the next archive time stamp was given, and that of the last one is judged now.
    """
    problems = [
        f"the {kind}'s certificate does not lead to the root"
        for kind, one, moment in (
            *(("time stamp", one, held.archives[0].time if is_archived else None) for one in held.stamps),
            *(
                ("archive time stamp", one, later.time if is_archived else None)
                for one, later in pairwise(held.archives)
            ),
            *(("archive time stamp", one, None) for one in held.archives[-1:]),
        )
        if not one.is_trusted(roots, certificates, moment)
    ]
    return list(dict.fromkeys(problems))
