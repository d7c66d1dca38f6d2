"""The temp folder as another user has prepared it before the start: nothing is read, written, given away or deleted.

Each attack is tried against root and against an ordinary user, in a folder of the attacker's in a folder such as /tmp, and in one
of the victim's own that the attacker could write to for a while.
"""

import os
import pwd
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from batchseal.errors import ConfigurationError
from batchseal.processes.places import check_temp_folder, find_identity, prepare, remarks_on_work_folder, settle
from batchseal.processes.supervisor import note_dsn
from batchseal.settings.load import Settings

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be several users")

NOBODY = 65534
USER = pwd.getpwnam("daemon").pw_uid


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder such as /tmp."""
    with TemporaryDirectory(prefix="batchseal-test-", dir="/var/tmp") as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def as_user(uid: int, act: Callable[[], object]) -> str:
    """What `act` returns, or the cause of its ConfigurationError, in a process of this user."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "it ended otherwise"
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            said = f"returned {act()}"
        except ConfigurationError as problem:
            said = f"refused: {problem.cause}"
        except BaseException as problem:
            said = repr(problem)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that a change would show: owners, modes, times, sizes and names."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        at = path.lstat()
        found[str(path)] = (at.st_uid, at.st_gid, at.st_mode, at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino)
    return found


# --- attacks: each plants something in the folder `temp`; `treasure` is what the victim must not touch ---------------


def link_to(name: str, inside: str = "") -> Callable[[Path, Path], None]:
    def plant(temp: Path, treasure: Path) -> None:
        (temp / name).symlink_to(treasure / inside)

    plant.__name__ = f"link_{name}"
    return plant


def database_of_the_attacker(temp: Path, treasure: Path) -> None:
    (temp / "postgres" / "data").mkdir(parents=True)
    (temp / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    for path in (temp / "postgres", temp / "postgres" / "data", temp / "postgres" / "data" / "PG_VERSION"):
        os.chown(path, NOBODY, NOBODY)


def socket_of_the_attacker(temp: Path, treasure: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(temp / "signer.sock"))
    os.chown(temp / "signer.sock", NOBODY, NOBODY)


def key_of_the_attacker(temp: Path, treasure: Path) -> None:
    (temp / "token.key").write_bytes(bytes(32))
    os.chown(temp / "token.key", NOBODY, NOBODY)


def second_name_of_a_treasure(temp: Path, treasure: Path) -> None:
    os.link(treasure / "file", temp / "attempts")


def pipe_that_stops_whoever_opens_it(temp: Path, treasure: Path) -> None:
    os.mkfifo(temp / "lock", 0o666)
    os.chown(temp / "lock", NOBODY, NOBODY)


ATTACKS = [
    link_to("postgres"),
    link_to("metrics"),
    link_to("database.url", "file"),
    database_of_the_attacker,
    socket_of_the_attacker,
    link_to("spill"),
    link_to("sandbox"),
    link_to("instance-id", "file"),
    key_of_the_attacker,
    second_name_of_a_treasure,
    pipe_that_stops_whoever_opens_it,
]


@pytest.mark.parametrize("planted_in", ["the attacker's", "the victim's"])
@pytest.mark.parametrize("victim", [0, USER], ids=["root", "user"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_prepared_folder(shared: Path, attack: Callable[[Path, Path], None], victim: int, planted_in: str) -> None:
    treasure, temp = shared / "treasure", shared / "batchseal"
    treasure.mkdir()
    (treasure / "file").write_text("precious")
    temp.mkdir()
    attack(temp, treasure)
    for path in (treasure, treasure / "file"):
        os.chown(path, victim, victim)
    owner = NOBODY if planted_in == "the attacker's" else victim
    os.chown(temp, owner, owner)
    temp.chmod(0o711)
    before = state(shared)
    said = as_user(victim, lambda: prepare(Settings(temp_folder=temp)))
    assert said.startswith("refused: --temp-folder") or said.startswith(f"refused: {temp}/postgres"), said
    assert state(shared) == before


def test_a_second_name_of_a_file_that_is_replaced(tmp_path: Path) -> None:
    """A power cut may leave one on a file system without a journal. The file is replaced, so the other name keeps its content."""
    (tmp_path / "other").write_text("precious")
    os.link(tmp_path / "other", tmp_path / "database.url")
    note_dsn(tmp_path / "database.url", "postgresql://new")
    assert (tmp_path / "other").read_text() == "precious"
    assert (tmp_path / "database.url").read_text() == "postgresql://new\n"
    assert stat.S_IMODE((tmp_path / "database.url").stat().st_mode) == 0o600


@pytest.mark.parametrize("victim", [0, USER], ids=["root", "user"])
def test_the_folder_itself_is_a_link(shared: Path, victim: int) -> None:
    (shared / "treasure").mkdir()
    os.chown(shared / "treasure", victim, victim)
    (shared / "batchseal").symlink_to("treasure")
    os.chown(shared / "batchseal", NOBODY, NOBODY, follow_symlinks=False)
    before = state(shared)
    assert "is a symbolic link in a folder" in as_user(
        victim, lambda: prepare(Settings(temp_folder=shared / "batchseal"))
    )
    assert state(shared) == before


def test_the_service_stops_and_says_why(shared: Path) -> None:
    """With the command itself, in the folder that earlier releases used by default."""
    (shared / "batchseal").mkdir()
    (shared / "batchseal" / "metrics").symlink_to(shared)
    os.chown(shared / "batchseal", NOBODY, NOBODY)
    before = state(shared)
    folders = (f"--temp-folder={shared}/batchseal", f"--work-folder={shared}/work")
    for command in ("serve", "audit"):
        arguments = ("verify", *folders) if command == "audit" else (*folders, "--port=0")
        ran = subprocess.run(
            [sys.executable, "-m", "batchseal.cli", command, *arguments],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ran.returncode == 2
        assert "Traceback" not in ran.stderr
        if command == "serve":
            assert f"{shared}/batchseal belongs to user nobody ({NOBODY})" in ran.stderr
    assert state(shared) == before


def identity(settings: Settings) -> str:
    prepare(settings)
    return find_identity(settings.temp_folder)


@pytest.mark.parametrize("victim", [0, USER], ids=["root", "user"])
def test_a_folder_that_nobody_could_prepare_is_made_and_used_again(shared: Path, victim: int) -> None:
    settings = Settings(temp_folder=shared / "a" / "batchseal")
    first = as_user(victim, lambda: identity(settings))
    assert first.startswith("returned ")
    assert as_user(victim, lambda: identity(settings)) == first
    assert stat.S_IMODE((shared / "a" / "batchseal").stat().st_mode) == 0o711
    assert stat.S_IMODE((shared / "a" / "batchseal" / "spill").stat().st_mode) == 0o700


# --- the default of earlier releases ----------------------------------------------------------------------------------


def earlier_instance(folder: Path, owner: int) -> Path:
    (folder / "postgres" / "data").mkdir(parents=True)
    (folder / "instance-id").write_text("x")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, owner)
    return folder


def default(folder: Path) -> Settings:
    return Settings(temp_folder=folder, temp_folder_is_default=True)


def test_the_database_of_an_earlier_release_is_used_where_it_is(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier, new = earlier_instance(shared / "batchseal", 0), shared / "state" / "batchseal"
    assert settle(default(new), earlier).temp_folder == earlier
    assert f"mkdir -p {new.parent} && mv {earlier} {new}" in capsys.readouterr().err
    # A folder that somebody has named is meant, and one with an instance is not left again.
    assert settle(Settings(temp_folder=new), earlier).temp_folder == new
    earlier_instance(new, 0)
    assert settle(default(new), earlier).temp_folder == new


@pytest.mark.parametrize("spoil", ["open to others", "link", "of another user"])
def test_it_never_begins_empty_beside_one(shared: Path, spoil: str) -> None:
    earlier, new = earlier_instance(shared / "batchseal", 0), shared / "state" / "batchseal"
    if spoil == "open to others":
        earlier.chmod(0o777)
    elif spoil == "link":
        (earlier / "metrics").symlink_to(shared)
    else:
        os.chown(earlier, NOBODY, NOBODY)
    with pytest.raises(ConfigurationError, match=f"mv {earlier} {new}"):
        settle(default(new), earlier)
    assert not new.exists()


def test_the_instance_of_another_user_is_left_alone(shared: Path) -> None:
    earlier, new = earlier_instance(shared / "batchseal", NOBODY), shared / "state" / "batchseal"
    assert as_user(USER, lambda: settle(default(new), earlier).temp_folder) == f"returned {new}"
    # Root's may be the one that this user is to go on with.
    earlier_instance(shared / "of root", 0)
    assert "cannot be used as it is" in as_user(USER, lambda: settle(default(new), shared / "of root").temp_folder)


# --- the work folder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("uid", "mode", "said"), [(0, 0o755, 0), (NOBODY, 0o755, 1), (0, 0o777, 1), (USER, 0o500, 1)])
def test_the_work_folder_may_be_anybodys(tmp_path: Path, uid: int, mode: int, said: int) -> None:
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(mode)
    os.chown(work, uid, uid)
    remarks = list(remarks_on_work_folder(work, work / "client-services-config.json"))
    assert len(remarks) == said
    assert all("who can change who may sign" in remark for remark in remarks)
    assert check_temp_folder(tmp_path / "temp") == []
