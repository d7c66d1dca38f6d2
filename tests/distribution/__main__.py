"""`make dist-test`: installs each wheel of `dist/` in a container of a bare Debian, and seals documents there."""

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


def main() -> int:
    options = parse_arguments()
    if missing := engine.missing_tools():
        raise SystemExit(f"not installed: {missing}")
    bad = 0
    for number, release in enumerate(options.releases):
        image = f"localhost/batchseal-bare-{release}"
        engine.ensure_base(release, image)
        if options.where_possible and not number and (reason := engine.why_no_containers(image)):
            print(f"bare Debian: SKIPPED, as no container can be run here: {reason}")
            return 0
        code, said = install(image, wheel_of(RELEASES[release]))
        print(f"{'BAD' if code else 'ok '} {release}", *said.strip().splitlines(), sep="\n    ", flush=True)
        bad += bool(code)
    return 1 if bad else 0


def wheel_of(tag: str) -> Path:
    found = list(DIST.glob(f"batchseal-*-{tag}-{tag}-manylinux*.whl"))
    if len(found) != 1:
        raise SystemExit(f"{DIST} has {len(found)} wheels {tag}, and one is needed; run `make dist`")
    return found[0]


def install(image: str, wheel: Path) -> tuple[int, str]:
    """The exit code, and what was said."""
    with tempfile.TemporaryDirectory(prefix="batchseal-bare-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for _ in (*write_invoices(folder / "pdf", DOCUMENTS), *write_xml_invoices(folder / "xml", DOCUMENTS)):
            pass
        for script in SCRIPTS.glob("*.sh"):
            (folder / script.name).write_bytes(script.read_bytes())
        mounts = [*engine.pip_mounts(folder), "-v", f"{folder}:/check:ro", "-v", f"{wheel}:/dist/{wheel.name}:ro"]
        return engine.attempt(
            *("--network", "host", "--entrypoint", "sh", *mounts),
            arguments=("/check/install.sh", f"/dist/{wheel.name}"),
            image=image,
            seconds=INSTALL_SECONDS,
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.distribution", description=__doc__)
    parser.add_argument(
        "--releases", nargs="+", default=list(RELEASES), choices=RELEASES, help="of Debian (default: both)"
    )
    parser.add_argument("--where-possible", action="store_true", help="end well where no container can be run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
