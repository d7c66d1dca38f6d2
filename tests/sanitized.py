"""The native tests over a build with AddressSanitizer and UBSan, in a folder of its own.

python -m tests.sanitized [pytest arguments]
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# An emulated processor has no room for the sanitizers' map of the memory and hangs; the ratios are measured in processes of
# their own, which do not bear it.
LEFT_OUT = ("tests/native/test_digest_kernels.py::test_on_a_broadwell",)
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"


def library(name: str) -> str:
    return subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()


def pytest_configure() -> None:
    """As a plugin of the run: the validators that tests start are others' programs, and do not bear the sanitizers."""
    os.environ.pop("LD_PRELOAD", None)


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="batchseal-sanitized-") as folder:
        copy = Path(folder) / "source"
        ignored = shutil.ignore_patterns(".*", "build", "dist", "*.so", "demo-out", "work")
        shutil.copytree(ROOT, copy, ignore=ignored)
        # setuptools adds CFLAGS to its own; the kernels' flags come after and win where they differ.
        build = os.environ | {"CFLAGS": f"{SANITIZERS} -O1 -g", "LDFLAGS": SANITIZERS}
        command = [sys.executable, "setup.py", "-q", "build_clib", "build_ext", "--inplace"]
        subprocess.run(command, cwd=copy, env=build, check=True, stdout=subprocess.DEVNULL)
        run = os.environ | {
            # Python was not built with them: they must be there first, and its own blocks are nobody's leak.
            "LD_PRELOAD": f"{library('libasan.so')}:{library('libubsan.so')}",
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": f"{copy / 'src'}:{copy}",
        }
        tests = ["tests/native", "tests/property"]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.sanitized", *tests]
        command += [*(f"--deselect={test}" for test in LEFT_OUT), *arguments]
        return subprocess.run(command, cwd=copy, env=run, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
