"""What a signed document still needs is asked of its format once for each round, and once more when it has everything."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from batchseal.document import DocumentOutcome, Evidence, Prepared, ToSign
from batchseal.errors import ItemRejected, PayloadDamaged
from batchseal.formats.interface import Need, NeedKind
from batchseal.signature import Level
from batchseal.signer.run import Signing
from batchseal.signer.work import Progress
from batchseal.store.rows import SignatureRow

ROOM = 100
ROUNDS = (NeedKind.TIME_STAMP, NeedKind.VALIDATION_MATERIAL, NeedKind.ARCHIVE_TIME_STAMP)


class Format:
    """One of level LTA. The archive time stamp of the document `spoilt` cannot be had."""

    def __init__(self, spoilt: int = -1) -> None:
        self.asked: list[int] = []
        self._spoilt = spoilt

    def next_need(self, prepared: Prepared, evidence: Evidence, credential: object) -> Need | None:
        self.asked.append(prepared.ordinal)
        had = len(evidence.time_stamps) + bool(evidence.material) + len(evidence.archive_time_stamps)
        if had == 2 and prepared.ordinal == self._spoilt:
            raise ItemRejected("it is spoilt")
        return Need(ROUNDS[had], bytes(32)) if had < len(ROUNDS) else None

    def added_bytes(self, *_: object) -> int:
        return 1


def complete(form: Format, documents: Sequence[Any]) -> tuple[list[DocumentOutcome], list[list[int]]]:
    """The outcomes, and the ordinals that were kept in each round. A document that is None is damaged."""
    outcomes, rounds = list[DocumentOutcome](), list[list[int]]()
    signing = Signing.__new__(Signing)

    async def meet(needs: Sequence[Need]) -> list[bytes]:
        return [b"answer"] * len(needs)

    async def record(_: object, ended: Sequence[DocumentOutcome], kept: Sequence[SignatureRow]) -> None:
        outcomes.extend(ended)
        rounds.append([one.ordinal for one in kept])

    async def read(_: object) -> dict[int, object]:
        return {
            number: PayloadDamaged("gone") if one is None else (one, object()) for number, one in enumerate(documents)
        }

    parts = {"_formats": SimpleNamespace(named=lambda _: form), "_meet": meet, "_record": record, "_tries": 3}
    for name, part in parts.items():
        setattr(signing, name, part)
    work: Any = SimpleNamespace(read=read, credentials={}, tries={}, longest_stamp_bytes=0, progress=Progress())
    signed = [(ToSign(number, b"", 0, Level.LTA, ROOM), Evidence(b"signature")) for number, _ in enumerate(documents)]
    asyncio.run(signing._complete_some(work, signed))
    return outcomes, rounds


def prepared(number: int) -> Prepared:
    return Prepared(number, "form", b"", b"", b"", Level.LTA, 0, b"", ROOM)


def test_a_need_is_asked_for_once_in_a_round() -> None:
    form = Format()
    outcomes, rounds = complete(form, [prepared(0), prepared(1)])
    assert [(one.ordinal, one.refusal) for one in outcomes] == [(0, None), (1, None)]
    assert rounds == [[0, 1]] * 3
    assert sorted(form.asked) == [0] * 4 + [1] * 4


def test_documents_that_cannot_go_on_end_alone() -> None:
    outcomes, rounds = complete(Format(spoilt=2), [prepared(0), None, prepared(2)])
    assert {one.ordinal: one.refusal is None for one in outcomes} == {0: True, 1: False, 2: False}
    assert next(one.refusal for one in outcomes if one.ordinal == 2) is not None
    assert rounds == [[0, 2], [0, 2], [0]]
