"""`make dist-test`: installs each wheel of `dist/` in a container of a bare Debian, and seals documents there.

With `--arch arm64` it is a Debian for that processor, which qemu stands in for. There is no wheel for it, so the source
distribution is installed, with a compiler, and the tests of the native code are run too.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from harness.distribution import DIST
from harness.invoices import write_invoices
from harness.xml_invoices import write_xml_invoices
from tests.container import engine

# The tag of the wheel that the Python of each release of Debian takes.
RELEASES = {"bookworm": "cp311", "trixie": "cp313"}
SCRIPTS = Path(__file__).parent
DOCUMENTS = 3  # of each kind
INSTALL_SECONDS = 900
EMULATED_SECONDS = 3 * 3600


def main() -> int:
    options = parse_arguments()
    if missing := engine.missing_tools(*(["programs for arm64"] if options.arch else [])):
        raise SystemExit(f"not installed: {missing}")
    bad = 0
    for number, release in enumerate(options.releases):
        image = f"localhost/batchseal-bare-{release}{options.arch and '-'}{options.arch}"
        engine.ensure_base(release, image, options.arch)
        if options.where_possible and not number and (reason := engine.why_no_containers(image)):
            print(f"bare Debian: SKIPPED, as no container can be run here: {reason}")
            return 0
        package = source_distribution() if options.arch else wheel_of(RELEASES[release])
        code, said = install(image, package, options.arch)
        title = f"{'BAD' if code else 'ok '} {release} {options.arch}".rstrip()
        print(title, *said.strip().splitlines(), sep="\n    ", flush=True)
        bad += bool(code)
    return 1 if bad else 0


def wheel_of(tag: str) -> Path:
    return only(f"batchseal-*-{tag}-{tag}-manylinux*.whl")


def source_distribution() -> Path:
    return only("batchseal-*.tar.gz")


def only(pattern: str) -> Path:
    found = list(DIST.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{DIST} has {len(found)} files {pattern}, and one is needed; run `make dist`")
    return found[0]


def install(image: str, package: Path, arch: str = "") -> tuple[int, str]:
    """The exit code, and what was said."""
    with tempfile.TemporaryDirectory(prefix="batchseal-bare-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for _ in (*write_invoices(folder / "pdf", DOCUMENTS), *write_xml_invoices(folder / "xml", DOCUMENTS)):
            pass
        for script in SCRIPTS.glob("*.sh"):
            (folder / script.name).write_bytes(script.read_bytes())
        mounts = [*engine.pip_mounts(folder), "-v", f"{folder}:/check:ro", "-v", f"{package}:/dist/{package.name}:ro"]
        if arch:
            mounts += ["-v", f"{engine.ROOT}:/sources:ro", "--platform", f"linux/{arch}"]
        return engine.attempt(
            *("--network", "host", "--entrypoint", "sh", *mounts),
            arguments=("/check/install.sh", f"/dist/{package.name}"),
            image=image,
            seconds=EMULATED_SECONDS if arch else INSTALL_SECONDS,
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.distribution", description=__doc__)
    parser.add_argument(
        "--releases", nargs="+", default=list(RELEASES), choices=RELEASES, help="of Debian (default: both)"
    )
    parser.add_argument("--arch", default="", choices=["arm64"], help="another processor, under qemu")
    parser.add_argument("--where-possible", action="store_true", help="end well where no container can be run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
