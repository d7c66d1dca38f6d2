"""The rows of the container test: which are run, what each must hold, and how synchronous requests get their documents."""

import json
import tempfile
from base64 import b64encode
from pathlib import Path

import pytest
from tests.container.__main__ import FEW, LARGE_BYTES, LOADS, Load, chosen, invoices
from tests.container.load import PIECE_BYTES, XADES, store_contents

from batchseal.client.batch import Document

FINE: dict[str, float] = {
    "alive": 1,
    "oom_kills": 0,
    "restarts": 0,
    "refusals": 0,
    "impolite": 0,
    "documents": 200,
    "valid": 200,
}
LOAD = Load(100, 2, limit_mb=192, aim_mb=160, below_mb=128)


def test_each_row_has_its_own_name_and_is_chosen_by_it() -> None:
    names = [load.name for load in LOADS]
    assert len(set(names)) == len(names)
    assert {"100x2", "xades_2500x1", "visible_lt_2500x1", "sync_50x8", "sync_25x2_of_20mb"} <= set(names)
    assert [chosen(load.name, every_step=False) for load in LOADS] == [[(load, load.limit_mb)] for load in LOADS]
    assert chosen("2500x8@384,sync_50x2", every_step=False) == [(LOADS[3], 384), (LOADS[6], 256)]


@pytest.mark.parametrize("every_step", [False, True])
def test_all_limits_and_aims_are_run_once(every_step: bool) -> None:
    steps = chosen("", every_step=every_step)
    assert len(set(steps)) == len(steps)
    assert {(load, load.limit_mb) for load in LOADS} <= set(steps)
    assert {(load, load.aim_mb) for load in LOADS if load.aim_mb} <= set(steps)
    assert ((LOADS[3], LOADS[3].below_mb) in steps) == every_step


def test_synchronous_rows_have_half_of_what_the_original_asks_for() -> None:
    originals = {(50, 2): 512, (50, 8): 1024, (25, 2): 2048, (25, 8): 4096}
    limits = {(load.documents, load.requests): load.limit_mb for load in LOADS if load.kind.synchronous}
    assert limits == {row: original // 2 for row, original in originals.items()}
    assert {load.size_bytes for load in LOADS if load.documents == 25} == {LARGE_BYTES}


@pytest.mark.parametrize(
    ("worse", "fails_at"),
    [
        ({}, []),
        ({"refusals": 1}, [192]),
        ({"valid": 199}, [192]),
        ({"refusals": 1, "impolite": 1}, [192, 128]),
        ({"oom_kills": 1}, [192, 128]),
        ({"restarts": 1}, [192, 128]),
    ],
)
def test_an_aim_is_no_failure_and_a_kill_below_it_is(worse: dict[str, float], fails_at: list[int]) -> None:
    numbers = FINE | worse
    assert [limit for limit in (192, 160, 128) if LOAD.wrong(limit, numbers)] == fails_at


def test_an_aim_that_is_the_step_below_too_may_refuse_but_not_be_killed() -> None:
    load = Load(100, 8, limit_mb=256, aim_mb=192, below_mb=192)
    assert load.wrong(192, FINE | {"refusals": 3}) == []
    assert load.wrong(192, FINE | {"oom_kills": 1}) != []


def test_there_is_a_folder_for_each_row(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for number in range(200):
        (given / f"{number:03d}.pdf").write_bytes(b"%d" % number)
    large = ("PAdES", 2, 30_000)
    with invoices(given, {FEW, ("PAdES", 50, 200_000), large, (XADES, 3, 200_000)}) as folders:
        counts = {one: len(list(path.iterdir())) for one, path in folders.items()}
        assert counts == {
            ("PAdES", 2500, 200_000): 200,
            FEW: 100,
            ("PAdES", 50, 200_000): 50,
            large: 2,
            (XADES, 3, 200_000): 3,
        }
        assert all(path.stat().st_size > 25_000 for path in folders[large].iterdir())
    assert len(list(given.iterdir())) == 200


def test_the_documents_of_a_reply_are_stored_piece_by_piece(tmp_path: Path) -> None:
    contents = [b"", b"short", bytes(range(256)) * (PIECE_BYTES >> 8)]
    entries = [{"name": "x", "signedContent": b64encode(content).decode()} for content in contents]
    documents = [Document(tmp_path / f"{number}.pdf", f"{number}.pdf", 1) for number in range(4)]
    with tempfile.TemporaryFile(dir=tmp_path) as reply:
        reply.write(json.dumps({"documentList": entries}, separators=(",", ":")).encode())
        assert store_contents(reply, documents, tmp_path) == 3
    assert [(tmp_path / f"{number}.pdf").read_bytes() for number in range(3)] == contents
