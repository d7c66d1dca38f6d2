"""Checks of hot folders: what overlaps, what cannot be written, and what mends it."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchseal.entries.folders import Checked, check
from batchseal.errors import ConfigurationError
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings

NOT_ROOT = 65_534


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name in ("in", "backup", "out", "in2", "backup2", "out2"):
        (tmp_path / "work" / name).mkdir(parents=True)
    return tmp_path / "work"


def checked(work: Path, **services: Any) -> Checked:
    table = {}
    for name, folders in services.items():
        keys = ("inputFolder", "backupFolder", "outputFolder")
        table[name] = {"secret": "s" * 20, **{key: str(one) for key, one in zip(keys, folders, strict=False)}}
    path = work / "client-services-config.json"
    path.write_text(json.dumps(table))
    settings = Settings(work_folder=work, temp_folder=work.parent / "temp", hot_folder_enabled=True)
    return check(settings, ClientServices.load(path))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may do everything, so the checks are made as somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOT_ROOT)
    os.seteuid(NOT_ROOT)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_folders_that_are_apart_and_writable_can_be_used(work: Path) -> None:
    before = sorted(work.rglob("*"))
    found = checked(work, A=("in", "backup", "out"), B=(work / "in2", work / "backup2", work / "out2"))
    assert not found.faults
    assert [(one.client_service, one.input, one.output) for one in found.places] == [
        ("A", work / "in", work / "out"),
        ("B", work / "in2", work / "out2"),
    ]
    assert sorted(set(work.rglob("*")) - set(before)) == [work / "client-services-config.json"], (
        "nothing is left behind"
    )


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (("in", "backup", "in"), "outputFolder .*/in and inputFolder .*/in overlap"),
        (("in", "backup", "in/out"), "outputFolder .*/in/out and inputFolder .*/in overlap"),
        (("in", "backup", "link"), "outputFolder .*/in and inputFolder .*/in overlap"),
        (("in", "backup", "link/out"), "outputFolder .*/in/out and inputFolder .*/in overlap"),
        (("in", "backup", "out/../in/out"), "outputFolder .*/in/out and inputFolder .*/in overlap"),
        ((".", "backup", "out"), "inputFolder .* overlaps with the file of client services"),
        (("../temp/in", "backup", "out"), "inputFolder .* overlaps with the temp folder"),
        (("../../", "backup", "out"), "overlap"),
        (("in", "backup"), "outputFolder is missing"),
        (("nowhere", "backup", "out"), "mkdir -p .*/nowhere && chown"),
        (("file", "backup", "out"), "inputFolder .*/file is no folder"),
        (("loop", "backup", "out"), "inputFolder .*/loop"),
    ],
)
def test_what_cannot_be_used_is_named(work: Path, folders: tuple[str, ...], named: str) -> None:
    (work / "in" / "out").mkdir()
    (work / "link").symlink_to(work / "in")
    (work / "loop").symlink_to("loop")
    (work / "file").touch()
    (work.parent / "temp" / "in").mkdir(parents=True)
    found = checked(work, A=folders)
    assert found.places == ()
    with pytest.raises(ConfigurationError, match=f"client service A: .*{named}"):
        found.require()


def test_folders_of_two_client_services_must_not_overlap(work: Path) -> None:
    (work / "alias").symlink_to(work / "out")
    found = checked(work, A=("in", "backup", "out"), B=("in2", "backup2", "alias"))
    assert [one.client_service for one in found.places] == ["A"]
    (fault,) = found.faults["B"]
    assert f"outputFolder {work / 'out'} and outputFolder {work / 'out'} of client service A overlap" in fault


def test_every_fault_is_said_at_once(work: Path) -> None:
    found = checked(work, A=("nowhere", "neither", "out"), B=("in", "backup2"), C=("in2", "backup", "out2"))
    assert len(found.faults["A"]) == 2
    with pytest.raises(ConfigurationError, match=r"nowhere.*neither.*client service B"):
        found.require()
    assert [one.client_service for one in found.places] == ["C"], "the others are not held up"


@pytest.fixture
def reachable_work() -> Iterator[Path]:
    """A work folder that any account comes to: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="batchseal-") as name:
        Path(name).chmod(0o755)
        for folder in ("in", "backup", "out"):
            (Path(name) / "work" / folder).mkdir(parents=True)
        yield Path(name) / "work"


def test_a_folder_of_somebody_else_is_named_with_what_mends_it(reachable_work: Path) -> None:
    work = reachable_work
    checked(work, A=("in", "backup", "out"))
    settings = Settings(work_folder=work, temp_folder=work.parent / "temp", hot_folder_enabled=True)
    (work / "client-services-config.json").chmod(0o644)
    services = ClientServices.load(work / "client-services-config.json", remarks=False)
    for name in ("in", "backup", "out"):
        (work / name).chmod(0o777)
    (work / "out").chmod(0o555)
    with unprivileged():
        uid, gid = os.geteuid(), os.getegid()
        found = check(settings, services)
    assert found.faults["A"] == [
        f"outputFolder {work / 'out'} cannot be read and written by this user (uid {uid}): chown {uid}:{gid} {work / 'out'}"
    ]


def test_an_inactive_client_service_is_left_out(work: Path) -> None:
    path = work / "client-services-config.json"
    path.write_text(json.dumps({"A": {"secret": "s" * 20, "active": False, "inputFolder": "nowhere"}}))
    settings = Settings(work_folder=work, temp_folder=work.parent / "temp", hot_folder_enabled=True)
    found = check(settings, ClientServices.load(path))
    assert (found.places, found.faults) == ((), {})


def test_what_is_in_the_place_of_our_own_folder_is_named(work: Path) -> None:
    (work / "out" / ".batchseal").symlink_to(work / "in")
    (fault,) = checked(work, A=("in", "backup", "out")).faults["A"]
    assert f"rm {work / 'out' / '.batchseal'}" in fault
