"""Builds the image and starts containers: thin calls of buildah and podman, each bounded in time."""

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from harness.tools import missing
from harness.waiting import until

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
IMAGE = "batchseal-test"
TOOLS = ("debootstrap", "buildah", "podman", "runc")
# Inside another sandbox a container may not raise its limits above the host's.
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
# What Debian's slim images leave out.
NOT_SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists")


@cache
def monitors_folder() -> Path:
    """Where the monitors of containers run. They leave a file `oom` there when the kernel kills a process for its memory."""
    folder = tempfile.TemporaryDirectory(prefix="batchseal-monitors-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def call(*command: str | Path, seconds: float = 120, check: bool = True, folder: Path = ROOT) -> str:
    """Standard output. Raises SystemExit with what the command said where it fails."""
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False, cwd=folder
    )
    if check and result.returncode:
        said = (result.stdout + result.stderr)[-3000:]
        raise SystemExit(f"{' '.join(map(str, command))} ended with {result.returncode}:\n{said}")
    return result.stdout.strip()


def missing_tools(*others: str) -> str:
    return missing((*TOOLS, *others))


def ensure_base(release: str = "bookworm", image: str = BASE, arch: str = "") -> None:
    """A Debian base under the name that the Dockerfile asks for, from this machine's own package sources. `arch` is Debian's name
    of another processor than this machine's.
    """
    # Layers are kept between runs. They must not lack what an archive, such as that for security, serves since.
    served = archives()
    if call("podman", "image", "inspect", "-f", '{{index .Labels "archives"}}', image, check=False) == served:
        return
    with tempfile.TemporaryDirectory(prefix="batchseal-base-", dir="/var/tmp") as folder:
        base = Path(folder, "base")
        other = ("--arch", arch) if arch else ()
        call("debootstrap", *other, "--variant=minbase", release, base, *package_source(), seconds=1800)
        for path in NOT_SLIM:
            shutil.rmtree(base / path, ignore_errors=True)
            (base / path).mkdir(parents=True)
        for archive in (base / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        sources = Path("/etc/apt/sources.list.d/debian.sources")
        if sources.exists():  # security and updates too
            (base / "etc/apt/sources.list").unlink(missing_ok=True)
            text = sources.read_text("utf-8").replace("bookworm", release)
            (base / "etc/apt/sources.list.d" / sources.name).write_text(text, "utf-8")
        container = call("buildah", "from", *other, "scratch")
        call("buildah", "copy", "-q", container, base, "/", seconds=300)
        call("buildah", "config", "--cmd", "bash", "--label", f"archives={served}", container)
        call("buildah", "commit", "-q", "--rm", container, image, seconds=300)


def archives() -> str:
    """A digest of what this machine's package sources serve now."""
    call("apt-get", "update", "-q", seconds=300)
    lists = sorted(Path("/var/lib/apt/lists").glob("*Release"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in lists)).hexdigest()


def why_no_containers(image: str = BASE) -> str:
    """What podman says where it cannot run a container here, as inside most other containers; empty where it can."""
    code, said = attempt("--memory=64m", "--entrypoint", "true", image=image)
    return "" if code == 0 else said.strip()[-500:] or f"podman ended with {code}"


def package_source() -> list[str]:
    """The mirror that this machine installs Debian from; debootstrap's own default where it does not say."""
    path = Path("/etc/apt/sources.list.d/debian.sources")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [line.split()[1] for line in lines if line.startswith("URIs:")][:1]


def pip_mounts(folder: Path) -> list[str]:
    """Options of buildah and podman that let pip in a container reach its index as it does on this machine. They are mounts, so
    that nothing of it is left in an image. `folder` takes a file.
    """
    configuration = folder / "pip.conf"
    lines, mounts = ["[global]", "timeout = 180"], ["-v", f"{configuration}:/etc/pip.conf:ro"]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "config")
    if index := os.environ.get("PIP_INDEX_URL") or call(*pip, "get", "global.index-url", check=False):
        lines.append(f"index-url = {index}")
    if authority := os.environ.get("PIP_CERT") or call(*pip, "get", "global.cert", check=False):
        lines.append("cert = /run/build-ca.crt")
        mounts += ["-v", f"{authority}:/run/build-ca.crt:ro"]
    configuration.write_text("\n".join(lines) + "\n", "utf-8")
    return mounts


def build() -> float:
    """Builds the Dockerfile of this checkout; returns the seconds it took."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="batchseal-pip-", dir="/var/tmp") as folder:
        mounts = pip_mounts(Path(folder))
        revision = call("git", "rev-parse", "HEAD", check=False) or "unknown"
        command = ("buildah", "bud", "--layers", "--isolation", "oci", "--runtime", "runc", "--network", "host")
        call(*command, "--pull-never", "--format", "docker", *mounts, "--build-arg", f"REVISION={revision}",
             "-t", IMAGE, ".", seconds=900)  # fmt: skip
    return time.monotonic() - started


def image_bytes(image: str) -> int:
    return int(json.loads(call("podman", "image", "inspect", image))[0]["Size"])


def run(name: str, *options: str, arguments: tuple[str, ...] = (), image: str = IMAGE) -> None:
    """Starts a container in the background."""
    remove(name)
    # Without systemd podman cannot time health checks: the tests call the probe themselves.
    call("podman", "--runtime", "runc", "run", "-d", "--name", name, "--no-healthcheck", *LIMITS, *options, image,
         *arguments, folder=monitors_folder())  # fmt: skip


def attempt(*options: str, arguments: tuple[str, ...] = (), image: str = IMAGE, seconds: float = 60) -> tuple[int, str]:
    """Runs a container to its end; its exit code and all that it said. 124 where it does not end."""
    program = ("podman", "--runtime", "runc", "run", "--rm", "--name", "batchseal-test-attempt", "--no-healthcheck")
    try:
        result = subprocess.run(
            [*program, *LIMITS, *options, image, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        remove("batchseal-test-attempt", 1)
        return 124, "it went on"
    return result.returncode, result.stdout + result.stderr


@contextmanager
def fresh_volume(name: str = "batchseal-test-volume") -> Iterator[str]:
    call("podman", "volume", "rm", "-f", name, check=False)
    try:
        yield name
    finally:
        call("podman", "volume", "rm", "-f", name, check=False)


def inside(name: str, *command: str, seconds: float = 60, image: str = IMAGE, user: str = "0") -> str:
    """Output of a command in a container of its own, by default as root."""
    program, *arguments = command
    return call("podman", "--runtime", "runc", "run", "--rm", "--name", name, "--no-healthcheck", *LIMITS,
                "--network", "host", "--user", user, "--entrypoint", program, image, *arguments,
                seconds=seconds)  # fmt: skip


def remove(name: str, seconds: int = 30) -> None:
    call("podman", "rm", "-f", "-t", str(seconds), name, seconds=seconds + 30, check=False)


def logs(name: str) -> str:
    result = subprocess.run(["podman", "logs", name], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


def running(name: str) -> bool:
    return call("podman", "inspect", "-f", "{{.State.Running}}", name, check=False) == "true"


def await_ready(url: str, name: str, seconds: float = 60) -> float:
    """Seconds until the service answers that it is ready. Raises SystemExit with its log where it does not."""

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as reply:
                return bool(reply.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    try:
        return until(is_ready, seconds)
    except AssertionError:
        raise SystemExit(f"{name} was not ready after {seconds} s; it said:\n{logs(name)[-3000:]}") from None
