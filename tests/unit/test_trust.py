"""Who could have prepared a folder: the accepted and the refused cases, one a line."""

import pytest

from batchseal.system.trust import (
    Found,
    Kind,
    Mount,
    Own,
    Verdict,
    judge_entry,
    judge_folder,
    judge_way,
)

ROOT = Own(0, frozenset({0}))
ALICE = Own(1000, frozenset({1000, 50}))
CONTAINER = Own(10001, frozenset({10001}))
ARBITRARY = Own(1_000_650_000, frozenset({0, 1_000_650_000}))  # a user that a cluster has chosen, in group 0
SEALED = Own(1000, frozenset({1000}), hides_owners=True)  # a user namespace that knows nobody but this user

DISK = Mount("ext4")
SMB = Mount("cifs", uid=1000, mode=0o777)
WINDOWS = Mount("9p", uid=0, mode=0o777)
DESKTOP = Mount("fakeowner", uid=0, mode=0o777)
STICK = Mount("vfat", uid=1000, mode=0o777)
SQUASHED = Mount("nfs4", uid=65534, mode=0o770)
NFS = Mount("nfs", uid=0, mode=0o755)
FUSE_OF_BOB = Mount("fuse.sshfs", uid=0, by=1001)
FUSE_OF_ALICE = Mount("fuse.sshfs", uid=1000, by=1000)


def folder(uid: int, mode: int, gid: int = 0, mount: Mount = DISK, *, mounted: bool = False) -> Found:
    return Found("/x", Kind.FOLDER, uid, gid, mode, is_mount_point=mounted, mount=mount)


def outcome(verdict: Verdict) -> str:
    """`ok`, `warn` or `refuse`. A refusal always says what to do."""
    assert not (verdict.refusal and verdict.warning)
    if verdict.refusal:
        assert any(
            word in verdict.refusal for word in ("choose ", "name the folder", "chmod", "move it", "remove this")
        )
    return "refuse" if verdict.refusal else "warn" if verdict.warning else "ok"


WAYS = [
    # Root's folders, and our own.
    (ROOT, folder(0, 0o755), "ok"),
    (ALICE, folder(0, 0o755), "ok"),
    (ALICE, folder(1000, 0o700, 1000), "ok"),
    (ALICE, folder(0, 0o711), "ok"),
    # Shared ones, such as /tmp: what is ours in there nobody can rename.
    (ROOT, folder(0, 0o1777), "ok"),
    (ALICE, folder(0, 0o1777), "ok"),
    (ALICE, folder(0, 0o1777, mounted=True), "ok"),
    # Write access through a group that we are in: fsGroup, an arbitrary user with group 0, a group of its own for each user.
    (ALICE, folder(0, 0o2775, 50), "ok"),
    (CONTAINER, folder(0, 0o2775, 10001), "ok"),
    (ARBITRARY, folder(0, 0o775), "ok"),
    (ALICE, folder(1000, 0o775, 1000), "ok"),
    # Mount points: whoever has mounted it has meant it.
    (CONTAINER, folder(0, 0o777, mounted=True), "warn"),
    (CONTAINER, folder(1000, 0o755, 1000, mounted=True), "warn"),
    (CONTAINER, folder(1000, 0o777, 1000, mounted=True), "warn"),
    # File systems that show one owner and one mode for everything.
    (CONTAINER, folder(1000, 0o777, 1000, SMB), "warn"),
    (CONTAINER, folder(0, 0o777, 0, WINDOWS), "warn"),
    (CONTAINER, folder(0, 0o777, 0, DESKTOP), "warn"),
    (ROOT, folder(1000, 0o777, 1000, STICK), "warn"),
    (ROOT, folder(65534, 0o770, 65534, SQUASHED), "warn"),
    (SEALED, folder(65534, 0o755, 65534), "warn"),
    # A group that root has given the right to, on the way: staff may write to /var/local on Debian.
    (ROOT, folder(0, 0o2775, 50), "warn"),
    # Somebody else's folders.
    (ROOT, folder(1000, 0o755, 1000), "refuse"),
    (ROOT, folder(65534, 0o711, 65534), "refuse"),
    (ALICE, folder(1001, 0o755, 50), "refuse"),
    (ALICE, folder(1001, 0o1777), "refuse"),
    (ALICE, folder(65534, 0o755), "refuse"),
    (ROOT, folder(1001, 0o755, 1001, NFS), "refuse"),
    (ROOT, folder(1001, 0o777, 1001, SMB), "refuse"),
    (ROOT, folder(0, 0o755, 0, FUSE_OF_BOB), "refuse"),
    (ALICE, folder(1000, 0o700, 1000, FUSE_OF_ALICE), "ok"),
    # Folders in which others could rename ours.
    (ROOT, folder(0, 0o777), "refuse"),
    (ALICE, folder(0, 0o777), "refuse"),
    (ALICE, folder(1000, 0o777, 1000), "refuse"),
    (ALICE, folder(1000, 0o775, 77), "refuse"),
    # What shows modes that differ from those of its root shows real ones.
    (ROOT, folder(0, 0o777, 0, Mount("9p", uid=0, mode=0o755)), "refuse"),
]


@pytest.mark.parametrize(("own", "found", "expected"), WAYS)
def test_a_folder_on_the_way(own: Own, found: Found, expected: str) -> None:
    assert outcome(judge_way(found, None, own)) == expected


FOLDERS = [
    (ROOT, folder(0, 0o711), "ok"),
    (ALICE, folder(1000, 0o700, 1000), "ok"),
    (CONTAINER, folder(0, 0o2775, 10001), "ok"),
    (ARBITRARY, folder(0, 0o2770), "ok"),
    (CONTAINER, folder(0, 0o777, mounted=True), "warn"),
    (CONTAINER, folder(0, 0o1777, mounted=True), "warn"),
    (CONTAINER, folder(0, 0o777, 0, WINDOWS), "warn"),
    (CONTAINER, folder(1000, 0o777, 1000, SMB), "warn"),
    (ROOT, folder(65534, 0o770, 65534, SQUASHED), "warn"),
    (ROOT, folder(65534, 0o711, 65534), "refuse"),
    (ROOT, folder(65534, 0o711, 65534, mounted=True), "refuse"),
    (ALICE, folder(1001, 0o777, 1001), "refuse"),
    (ALICE, folder(1000, 0o777, 1000), "refuse"),
    (ROOT, folder(0, 0o1777), "refuse"),
    (ROOT, folder(0, 0o775, 50), "refuse"),
    (ALICE, folder(0, 0o775, 77), "refuse"),
    (ROOT, Found("/x", Kind.FILE, 0, 0, 0o600), "refuse"),
]


@pytest.mark.parametrize(("own", "found", "expected"), FOLDERS)
def test_the_folder_that_matters(own: Own, found: Found, expected: str) -> None:
    assert outcome(judge_folder(found, own)) == expected


LINKS = [
    (ROOT, 0, folder(0, 0o755), "ok"),
    (ALICE, 1000, folder(1000, 0o700, 1000), "ok"),
    (ALICE, 0, folder(0, 0o2775, 50), "ok"),
    (ROOT, 1001, folder(0, 0o755), "refuse"),
    (ROOT, 1001, folder(0, 0o1777), "refuse"),
    (ALICE, 1000, folder(0, 0o1777), "refuse"),
    (ALICE, 0, folder(0, 0o777, mounted=True), "refuse"),
    (ALICE, 1000, folder(0, 0o777, 0, WINDOWS), "refuse"),
    (ALICE, 1000, folder(1000, 0o775, 77), "refuse"),
]


@pytest.mark.parametrize(("own", "uid", "above", "expected"), LINKS)
def test_a_link_is_followed_only_where_nobody_else_can_have_made_it(
    own: Own, uid: int, above: Found, expected: str
) -> None:
    assert outcome(judge_way(Found("/x/link", Kind.LINK, uid, 0, 0o777), above, own)) == expected


def entry(kind: Kind, uid: int, mode: int, gid: int = 0, mount: Mount = DISK, names: int = 1) -> Found:
    return Found("/x/entry", kind, uid, gid, mode, names=names, mount=mount)


ENTRIES = [
    (ROOT, entry(Kind.FOLDER, 0, 0o700), Kind.FOLDER, "ok"),
    (ALICE, entry(Kind.SOCKET, 1000, 0o600), Kind.SOCKET, "ok"),
    (ALICE, entry(Kind.SOCKET, 1000, 0o777), Kind.SOCKET, "ok"),  # both ends ask who the other one is
    (ALICE, entry(Kind.FILE, 1000, 0o600), Kind.FILE, "ok"),
    (ALICE, entry(Kind.FILE, 1000, 0o664, 1000), Kind.FILE, "ok"),
    (CONTAINER, entry(Kind.FILE, 0, 0o777, 0, WINDOWS), Kind.FILE, "warn"),
    (CONTAINER, entry(Kind.FOLDER, 0, 0o777, 0, WINDOWS), Kind.FOLDER, "warn"),
    (ROOT, entry(Kind.FILE, 65534, 0o600, 65534, SQUASHED), Kind.FILE, "warn"),
    (ROOT, entry(Kind.LINK, 0, 0o777), Kind.FOLDER, "refuse"),
    (ROOT, entry(Kind.LINK, 0, 0o777), Kind.FILE, "refuse"),
    (ROOT, entry(Kind.FOLDER, 0, 0o700), Kind.FILE, "refuse"),
    (ROOT, entry(Kind.OTHER, 0, 0o600), Kind.FILE, "refuse"),  # a pipe, which would stop whoever opens it
    (ROOT, entry(Kind.SOCKET, 65534, 0o777), Kind.SOCKET, "refuse"),
    (ROOT, entry(Kind.FILE, 65534, 0o600), Kind.FILE, "refuse"),
    (ROOT, entry(Kind.FOLDER, 0, 0o777), Kind.FOLDER, "refuse"),
    (ALICE, entry(Kind.FILE, 1000, 0o666, 1000), Kind.FILE, "refuse"),
    (ALICE, entry(Kind.FOLDER, 1000, 0o770, 77), Kind.FOLDER, "refuse"),
]


@pytest.mark.parametrize(("own", "found", "wanted", "expected"), ENTRIES)
def test_what_lies_in_it(own: Own, found: Found, wanted: Kind, expected: str) -> None:
    assert outcome(judge_entry(found, wanted, own)) == expected


def test_a_file_that_is_written_in_place_has_one_name() -> None:
    linked = entry(Kind.FILE, 0, 0o600, names=2)
    assert outcome(judge_entry(linked, Kind.FILE, ROOT)) == "ok"
    assert outcome(judge_entry(linked, Kind.FILE, ROOT, written=True)) == "refuse"


def test_the_account_of_the_database_is_trusted_with_its_own_folder() -> None:
    made = entry(Kind.FOLDER, 101, 0o700, 104)
    assert outcome(judge_entry(made, Kind.FOLDER, ROOT)) == "refuse"
    assert outcome(judge_entry(made, Kind.FOLDER, Own(0, frozenset({0}), frozenset({101})))) == "ok"
