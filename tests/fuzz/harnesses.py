"""Builds and runs the fuzz harnesses: libFuzzer over the C cores (clang), atheris over the multipart reader
and the DER writer.

python -m tests.fuzz.harnesses --seconds 180            every harness
python -m tests.fuzz.harnesses json --seconds 10 --canary
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from harness import tools

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
FINDINGS = ROOT / "build" / "fuzz"
C_HARNESSES = {
    "pdf": ("pdf_plan_fuzz.c", ("pdfscan",)),
    "json": ("json_scan_fuzz.c", ("jsonscan", "base64", "cpu")),
    "base64": ("base64_fuzz.c", ("base64", "cpu")),
    "xml": ("xml_c14n_fuzz.c", ("xmlc14n", "mbsha256", "cpu")),
}
PYTHON_HARNESSES = {"multipart": "multipart_fuzz.py", "cms": "cms_fuzz.py"}
HARNESSES = (*C_HARNESSES, *PYTHON_HARNESSES)
# Of one input: more is a finding. The second bounds the whole process, what the sanitizers hold included.
INPUT_SECONDS, INPUT_MEGABYTES = 1, 256
# What was freed is kept apart for a while, to notice its use: little of it, since it counts.
ASAN_OPTIONS = "quarantine_size_mb=16:thread_local_quarantine_size_kb=64:malloc_context_size=8"
ISA_FLAGS = {
    "portable": [],
    "shani": ["-msha", "-mavx"],
    "avx2": ["-mavx2", "-mbmi", "-mbmi2"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512cd", "-mavx2", "-mbmi", "-mbmi2"],
}


def missing(name: str) -> str:
    """What the harness needs and is not here; empty where it can run."""
    return tools.left_out({name: needs(name)}).get(name, "")


def needs(name: str) -> tuple[str, ...]:
    """The tools of a harness."""
    return tools.CLANG_FUZZER if name in C_HARNESSES else ("atheris",)


def build(name: str, folder: Path, *, canary: bool) -> Path:
    """The program of a harness, made in `folder`. The C core's objects there are taken again, since the canary is not in them."""
    source, parts = C_HARNESSES[name]
    flags = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O1", "-g", f"-I{ROOT / 'ext'}", f"-I{HERE}", "-DLIBFUZZER"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

    def compiled(part: str, file: Path) -> Path:
        isa = file.parent.name if file.parent.parent.name == "arch" else "portable"
        made = folder / f"{part}-{isa}-{file.stem}.o"
        if not made.exists():
            command = ["clang", *flags, *ISA_FLAGS[isa], "-fsanitize=fuzzer-no-link", "-c", str(file), "-o", str(made)]
            subprocess.run(command, check=True)
        return made

    files = [(part, file) for part in parts for file in sorted((ROOT / "ext" / part).rglob("*.c"))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, *zip(*files, strict=True)))
    program = folder / f"fuzz-{name}"
    planted = ["-DCANARY"] if canary else []
    command = ["clang", *flags, *planted, "-fsanitize=fuzzer", str(HERE / source), *map(str, objects)]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


def fuzz(
    name: str, folder: Path, *, built: Path | None = None, seconds: int = 0, runs: int = 0, canary: bool = False
) -> dict[str, float]:
    """Runs a harness on a copy of its seeds. AssertionError with its last words where it finds something.

    `folder` is for what the run makes. A C harness is built in `built`, by default in `folder` too.
    """
    corpus = folder / f"corpus-{name}"
    shutil.copytree(HERE / "seeds" / name, corpus)
    options = [f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={INPUT_MEGABYTES}"]
    # The planted bug needs one certain byte in the first place: short inputs and a dictionary come to it soon.
    longest = 64 if canary else 65536
    options += [f"-artifact_prefix={folder}/", "-print_final_stats=1", f"-max_len={longest}"]
    if canary:
        (folder / "dictionary").write_text('"~"\n')
        options.append(f"-dict={folder / 'dictionary'}")
    if name in C_HARNESSES:
        command = [str(build(name, built or folder, canary=canary))]
    else:
        command = [sys.executable, str(HERE / PYTHON_HARNESSES[name]), *(["--canary"] if canary else [])]
    environment = os.environ | {"ASAN_OPTIONS": ASAN_OPTIONS}
    # Linux hands the peak memory of a process on to the program that it executes, but not to a process that it forks. So a shell
    # stands between: the peak of this process would count as that of the harness.
    apart = ["sh", "-c", '"$@"; exit $?', "sh", *command, *options]
    call = partial(subprocess.run, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
    began, said = time.monotonic(), ""
    while True:
        left = seconds - int(time.monotonic() - began)
        done = call([*apart, f"-runs={runs}" if runs else f"-max_total_time={max(1, left)}", str(corpus)])
        said += done.stderr
        timeouts = [path for path in folder.glob("timeout-*") if not canary]
        # The clock of an input goes on while this process is stopped. So an input must be slow twice.
        if not done.returncode or not timeouts or any(call([*apart, str(path)]).returncode for path in timeouts):
            break
        for path in timeouts:
            path.unlink()
        if not runs and left <= 1:
            done.returncode = 0
            break
    if done.returncode:
        # What it found outlives the folder; atheris tells the exception on standard output.
        for found in folder.glob("*-*[0-9a-f]"):
            if found.is_file() and not canary:
                FINDINGS.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, FINDINGS / f"{name}-{found.name}")
        raise AssertionError(f"{name}: {done.stdout[-1500:]}{said[-1500:]}")
    figures: dict[str, list[float]] = {}
    for key, value in re.findall(r"stat::(\w+):\s+(\d+)", said):
        figures.setdefault(key, []).append(float(value))
    return {
        "runs": sum(figures.get("number_of_executed_units", [])),
        "slowest_seconds_max": max(figures.get("slowest_unit_time_sec", [0])),
        "peak_rss_mb": max(figures.get("peak_rss_mb", [0])),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(HARNESSES)}; none: all")
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--canary", action="store_true", help="with a planted bug, which must be found")
    arguments = parser.parse_args()
    names = arguments.names or HARNESSES
    left_out = tools.left_out({name: needs(name) for name in names})
    tools.say(left_out)
    code = 0
    for name in names:
        if name in left_out:
            print(f"{name}: not run, {left_out[name]}")
            code = 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(name, fuzz(name, Path(folder), seconds=arguments.seconds, canary=arguments.canary), flush=True)
                found = False
            except AssertionError as problem:
                found = True
                if not arguments.canary:
                    print(problem)
            print(f"{name}: {'found something' if found else 'nothing found'}", flush=True)
            code |= found is not arguments.canary
    return code


if __name__ == "__main__":
    raise SystemExit(main())
