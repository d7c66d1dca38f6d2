"""What encrypted documents may take: memory and the disk for what they cannot share, and what is kept of their key."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
from harness.validators.samples import document
from tests.support.pictures import picture_bytes
from tests.support.seen_pages import SIGNING_TIME, credential, description, refused, seen, sign
from tests.support.small_pki import SmallPki
from tests.unit.test_long_term import complete
from tests.unit.test_pades_encrypted_combined import USUAL, judged, made
from tests.unit.test_pades_levels import wanted as wanted_at

from batchseal._native.planner import memory_bound, update_bound
from batchseal.document import Description, Prepared
from batchseal.errors import ItemRejected
from batchseal.formats.pades.pades import Pades
from batchseal.operation import SignError
from batchseal.signature import Level, SignatureLook
from batchseal.visible.picture import read


def pictured(side: int) -> Description:
    """A picture that takes three bytes for each of side x side pixels."""
    picture = read(picture_bytes("PNG", "RGB", (side, side), noise=True), "", "image")
    look = SignatureLook("", 200, 200, picture=picture, picture_scale=200 / side)
    return description(seen(look), "Reason")


def test_a_large_picture_is_signed_in_a_small_encrypted_document(tmp_path: Path) -> None:
    """It is a part of the plan there, and takes more memory than planning usually does."""
    whole = sign(made("AES-128", "stream", document()), pictured(290))
    judged(tmp_path / "signed.pdf", whole, ["Signature1"])


def test_one_that_would_be_stored_again_and_again_is_refused_by_name() -> None:
    """Many small encrypted documents in a request would make it very large: nothing of it is shared."""
    for kind in USUAL:
        refusal = refused(made(kind, "stream", document()), pictured(300))
        assert refusal.sign_error is SignError.NOT_DRAWABLE
        assert refusal.cause.startswith("2.2.1: the PDF is encrypted, so that the image")
    for other in (None, "AES-128, streams in clear"):
        assert sign(made(other, "stream", document()), pictured(300))


@contextmanager
def booking(asked: list[int], memory_bytes: int) -> Iterator[int]:
    asked.append(memory_bytes)
    yield memory_bytes


def test_memory_is_booked_for_what_cannot_be_shared() -> None:
    wanted = pictured(290)
    for kind in (None, "AES-128"):
        asked: list[int] = []
        original = made(kind, "table", document())
        (found,) = Pades().prepare([(0, wanted, original)], credential(), SIGNING_TIME, memory=partial(booking, asked))
        assert isinstance(found, Prepared)
        assert bool(found.shared) == (kind is None)
        planning = [each for each in asked if each > memory_bound(len(original))]
        assert bool(planning) == (kind is not None)
        if planning:
            assert planning[0] >= memory_bound(len(original)) + update_bound(len(original)) + 5 * 3 * 290 * 290


@pytest.mark.parametrize(
    "damage",
    [b"", b"x", b"\x09\x02" + bytes(40), b"\x02\x02" + bytes(39), b"\x01\x01" + bytes(24), b"\x03\x03" + bytes(80)],
)
def test_a_kept_key_that_cannot_be_one_gives_no_document(damage: bytes) -> None:
    pki, original = SmallPki(), made("AES-128", "table", document())
    prepared, evidence, _ = complete(Pades(), original, wanted_at(Level.LTA), pki)
    record = msgspec.msgpack.decode(prepared.plan)
    assert record["section"]["cipher"][:2] == b"\x02\x02"
    record["section"]["cipher"] = damage
    damaged = msgspec.structs.replace(prepared, plan=msgspec.msgpack.encode(record))
    with pytest.raises(ItemRejected):
        Pades().package(original, damaged, evidence, pki.signer.credential)
