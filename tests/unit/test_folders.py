"""Folders that are checked step by step, and files that are opened in them without following a link."""

import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from batchseal.errors import BatchsealError
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.local import LocalPayloads
from batchseal.system import disk
from batchseal.system.folders import hides_owners, look, open_folder, own_folder
from batchseal.system.mounts import Mounts, parse

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to somebody else")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder such as /tmp."""
    with TemporaryDirectory(prefix="batchseal-test-", dir="/var/tmp") as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def test_what_is_missing_is_made_below_what_was_checked(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with open_folder(tmp_path / "a" / "b" / "c", make=0o711) as folder:
            assert folder.path == tmp_path / "a" / "b" / "c"
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b", folder.path)]
    assert modes == [0o755, 0o755, 0o711]
    with pytest.raises(FileNotFoundError):
        open_folder(tmp_path / "none")


def test_a_link_of_our_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "relative").symlink_to("disk")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    (tmp_path / "round").symlink_to("round")
    with open_folder(tmp_path / "absolute" / ".." / "absolute" / "below", make=0o700) as folder:
        assert folder.path == tmp_path / "disk" / "below"
    assert look(tmp_path / "absolute").exists
    with pytest.raises(OSError, match="Too many levels"):
        look(tmp_path / "round")


def test_a_link_in_a_shared_folder_is_not(shared: Path, tmp_path: Path) -> None:
    (shared / "link").symlink_to(tmp_path)
    for path in (shared / "link", shared / "link" / "below", shared / "link" / ".." / "other"):
        assert "is a symbolic link in a folder that everybody can write to" in look(path).refusal
        with pytest.raises(PermissionError):
            open_folder(path, make=0o700)
        with pytest.raises(PermissionError):  # not even where the operator has chosen the path
            open_folder(path, make=0o700, strict=False)
    assert list(tmp_path.iterdir()) == []


def test_the_last_step_is_judged_whatever_it_is(shared: Path) -> None:
    (shared / "own").mkdir()
    (shared / "own" / "up").symlink_to("..")
    for path in (shared, shared / "own" / "..", shared / "own" / "up"):
        assert "is shared by everybody" in look(path).refusal
    (shared / "own" / "file").write_text("")
    assert "is a file and no folder" in look(shared / "own" / "file").refusal
    assert "is a file and no folder" in look(shared / "own" / "file" / "below").refusal


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to(path.parent / "victim")


def second_name(path: Path) -> None:
    os.link(path.parent / "victim", path)


def folder(path: Path) -> None:
    path.mkdir()


def open_to_others(path: Path) -> None:
    path.write_text("theirs")
    path.chmod(0o666)


@pytest.mark.parametrize("plant", [pipe, link, second_name, folder, open_to_others])
def test_only_a_file_of_our_own_is_written(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    (tmp_path / "victim").write_text("precious")
    plant(tmp_path / "planted")
    with open_folder(tmp_path) as opened:
        for flags in (os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
            with pytest.raises(PermissionError, match=r"planted (is|can be written by) "):
                opened.open("planted", flags)
    assert (tmp_path / "victim").read_text() == "precious"


@as_root
def test_a_file_of_somebody_else_is_neither_read_nor_written(tmp_path: Path) -> None:
    (tmp_path / "planted").write_text("known to others")
    os.chown(tmp_path / "planted", NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="belongs to user nobody"):
        disk.read_own(tmp_path / "planted")
    with pytest.raises(PermissionError, match="belongs to user nobody"):
        disk.open_mapped(tmp_path / "planted", 100)
    assert (tmp_path / "planted").read_text() == "known to others"


def test_what_was_checked_is_used_whatever_others_rename(tmp_path: Path) -> None:
    (tmp_path / "checked").mkdir()
    (tmp_path / "other").mkdir()
    with open_folder(tmp_path / "checked") as opened:
        (tmp_path / "checked").rename(tmp_path / "moved")
        (tmp_path / "checked").symlink_to("other")
        os.close(opened.open("file", os.O_WRONLY | os.O_CREAT))
        opened.folder("below", 0o700).close()
        Path(opened.place_of("placed")).write_text("")
    assert sorted(os.listdir(tmp_path / "moved")) == ["below", "file", "placed"]
    assert os.listdir(tmp_path / "other") == []


def test_a_replaced_file_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    link(tmp_path / "kept")
    (tmp_path / ".kept.draft").symlink_to("victim")
    disk.write_synced(tmp_path / "kept", b"new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "kept").is_symlink()
    assert (tmp_path / "kept").read_bytes() == b"new"


def test_a_folder_that_is_opened_often_is_still_the_one_that_was_judged(tmp_path: Path) -> None:
    (tmp_path / "spill").mkdir(mode=0o700)
    with own_folder(tmp_path / "spill") as descriptor:
        assert os.listdir(descriptor) == []
    (tmp_path / "spill").chmod(0o777)
    with pytest.raises(PermissionError, match="not the service's own any more"), own_folder(tmp_path / "spill"):
        pass


def test_payloads_are_neither_written_nor_deleted_through_a_link(tmp_path: Path) -> None:
    payload = uuid4()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{payload}.spill").write_text("precious")
    (tmp_path / "spill").symlink_to("elsewhere")
    store = LocalPayloads(tmp_path / "spill")
    upload = store.create(uuid4())
    for act in (upload.begin, lambda: store.delete([PayloadRecord(payload)]), store.stored_bytes):
        with pytest.raises(BatchsealError):
            act()
    upload.abandon()
    with pytest.raises(BatchsealError):
        store.open(PayloadRecord(id=payload, stored_bytes=8))
    assert [path.read_text() for path in (tmp_path / "elsewhere").iterdir()] == ["precious"]


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access control list as its extended attribute: the version, then tag, rights and id of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NO_ID = 0xFFFF_FFFF
OWNER, GROUP, OTHERS = (0x01, 7, NO_ID), (0x04, 7, NO_ID), (0x20, 0, NO_ID)


@pytest.mark.parametrize(
    ("named", "mask", "accepted"),
    [((0x02, 7, NOBODY), 7, False), ((0x08, 7, 77), 7, False), ((0x02, 7, NOBODY), 5, True), ((0x02, 7, 0), 7, True)],
)
def test_an_access_control_list_tells_who_can_write(
    tmp_path: Path, named: tuple[int, int, int], mask: int, accepted: bool
) -> None:
    """The mode shows 770 and a group that we are in, and says nothing of the users whom the list names."""
    folder = tmp_path / "listed"
    folder.mkdir(mode=0o700)
    try:
        os.setxattr(folder, "system.posix_acl_access", acl(OWNER, *sorted([GROUP, named]), (0x10, mask, NO_ID), OTHERS))
    except OSError:
        pytest.skip("this file system has no access control lists")
    assert (look(folder).refusal == "") is accepted


@pytest.mark.parametrize(
    ("uid_map", "hides"),
    [
        ("0 0 4294967295\n", False),
        ("1000 1000 1\n", True),
        ("0 1000 1\n1 100000 65536\n", False),
        ("0 1000 1\n1 100000 1000\n", True),
        ("", False),
    ],
)
def test_a_user_namespace_that_hides_owners(tmp_path: Path, uid_map: str, hides: bool) -> None:
    (tmp_path / "uid_map").write_text(uid_map)
    assert hides_owners(tmp_path / "uid_map") is hides


MOUNTINFO = r"""
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
28 27 0:25 / /tmp rw,nosuid shared:7 - tmpfs tmpfs rw,size=4k
29 28 0:44 / /tmp/with\040space rw - fuse.sshfs bob@host:/ rw,user_id=1001,group_id=1001
30 28 0:45 / /tmp/twice rw - ext4 /dev/a rw
31 28 0:46 / /tmp/twice rw - cifs //host/share rw,uid=5
""".strip()


def test_the_mount_table() -> None:
    mounts = Mounts(parse(MOUNTINFO))
    assert mounts.is_point("/tmp") and not mounts.is_point("/tmp/a") and not mounts.is_point("/")
    assert mounts.of("/tmp/a/b").type == "tmpfs"
    assert mounts.of("/tmpfile").type == "ext4"
    assert (mounts.of("/tmp/with space/x").type, mounts.of("/tmp/with space/x").by) == ("fuse.sshfs", 1001)
    assert (mounts.of("/tmp/twice").type, mounts.of("/tmp/twice").by) == ("cifs", None)
    assert Mounts({}).of("/tmp/a").type == "unknown"
    assert Mounts.read().of("/proc/self").type == "proc"
