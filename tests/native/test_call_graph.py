"""The C in ext/ has layers: no circle between its files, its folders or its static libraries.

The includes are read from the sources. Who calls whom is read by `nm` from objects that are compiled without
optimization, so that no call is missing because the compiler inlined it into another.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from tests.native.sources import ROOT, X86, native_sources, setup_constant

EXT = ROOT / "ext"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<[^>]+>|(\S.*))', re.MULTILINE)
Edges = list[tuple[str, str, str]]  # user, used, why

needs_compiler = pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("nm")), reason="needs gcc and nm")


@dataclass(frozen=True)
class Objects:
    """What `nm` says of each object: the names it defines for others, and those it takes from others."""

    defined: dict[str, set[str]]
    undefined: dict[str, set[str]]
    paths: list[Path]


def compiled_sources() -> list[tuple[str, Path]]:
    """What setup.py compiles on this machine."""
    return [(isa, path) for isa, path in native_sources() if X86 or isa in ("core", "portable")]


def names_in(path: Path) -> tuple[set[str], set[str]]:
    listing = subprocess.run(["nm", "-g", "-P", path], capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[:2] for line in listing.splitlines()]
    return {name for name, kind in symbols if kind != "U"}, {name for name, kind in symbols if kind == "U"}


def compile_all(sources: Iterable[tuple[str, Path]], include: Path, folder: Path) -> Objects:
    def one(source: tuple[str, Path]) -> tuple[str, Path]:
        isa, path = source
        name = str(path.relative_to(include))
        target = folder / (name.replace("/", "+") + ".o")
        flags = [*setup_constant("C_FLAGS"), *setup_constant("ISA_FLAGS").get(isa, []), "-O0", "-g0"]
        subprocess.run(["gcc", *flags, f"-I{include}", "-c", path, "-o", target], check=True)
        return name, target

    with ThreadPoolExecutor(2) as pool:
        targets = dict(pool.map(one, sources))
    names = {name: names_in(target) for name, target in targets.items()}
    return Objects({n: d for n, (d, _) in names.items()}, {n: u for n, (_, u) in names.items()}, [*targets.values()])


def calls(objects: Objects) -> Edges:
    """Edges between C files. A name of ours is one that an object defines; no two may define the same one."""
    owners = {symbol: name for name, symbols in objects.defined.items() for symbol in symbols}
    assert len(owners) == sum(map(len, objects.defined.values()))
    wanted = [(name, symbol) for name, symbols in objects.undefined.items() for symbol in sorted(symbols)]
    return [(name, owners[symbol], symbol) for name, symbol in wanted if symbol in owners]


def includes(include: Path) -> Edges:
    """Edges from each file to the files of ours that it includes. An include that can't be followed is an error."""
    found: Edges = []
    for path in sorted(include.rglob("*.[ch]")):
        name = str(path.relative_to(include))
        for ours, computed in INCLUDE.findall(path.read_text("utf-8")):
            assert not computed, f"{name} includes {computed}, which only the compiler can tell"
            if ours:
                assert (include / ours).is_file(), f"{name} includes {ours}, which is not in {include.name}/"
                found.append((name, ours, "#include"))
    return found


def circle(edges: Edges, group: Callable[[str], str] = str) -> list[str]:
    """The names along one circle between groups of files, or nothing. Edges within a group are left out."""
    graph: dict[str, set[str]] = {}
    for user, used, _ in edges:
        if group(user) != group(used):
            graph.setdefault(group(user), set()).add(group(used))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def folder_of(name: str) -> str:
    return name.split("/", maxsplit=1)[0]


def library_of(name: str) -> str:
    """The static library that setup.py puts an object into: one for each instruction set."""
    parts = name.split("/")
    return parts[2] if parts[1] == "arch" else "core"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return compile_all(compiled_sources(), EXT, tmp_path_factory.mktemp("objects"))


def test_no_file_of_c_is_left_out() -> None:
    known = {path for _, path in native_sources()}
    assert known == set(EXT.rglob("*.c"))
    assert {isa for isa, _ in native_sources()} == {"core", *setup_constant("ISA_FLAGS")}


def test_includes_form_no_circle() -> None:
    edges = includes(EXT)
    assert len(edges) > 50
    assert circle(edges) == []
    assert circle(edges, folder_of) == []


@needs_compiler
def test_files_folders_and_libraries_form_no_circle(objects: Objects) -> None:
    edges = calls(objects)
    assert len(edges) > 50
    assert circle(edges) == []
    assert circle(edges, library_of) == []
    # A file that includes a header of another depends on that file as well as a caller does.
    assert circle(edges + includes(EXT)) == []
    assert circle(edges + includes(EXT), folder_of) == []


@needs_compiler
def test_nothing_is_called_that_nobody_defines(objects: Objects, tmp_path: Path) -> None:
    """The linker judges: beside the objects there is only the C library."""
    command: list[str | Path] = [
        "gcc",
        "-shared",
        "-Wl,--no-undefined",
        *objects.paths,
        "-lpthread",
        "-o",
        tmp_path / "all.so",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


SAMPLE = {
    "a/top.c": '#include "a/low.h"\nint top(void) { return low(); }\n',
    "a/low.c": '#include "a/low.h"\nint low(void) { return 1; }\n',
    "a/low.h": "int low(void);\n",
}


def written(folder: Path, changed: dict[str, str]) -> Path:
    for name, text in (SAMPLE | changed).items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)
    return folder


def test_a_circle_of_includes_is_seen(tmp_path: Path) -> None:
    assert circle(includes(written(tmp_path / "right", {}))) == []
    wrong = written(tmp_path / "wrong", {"a/low.h": '#include "b/x.h"\n', "b/x.h": '  #  include "a/low.h" // why\n'})
    assert set(circle(includes(wrong))) == {"a/low.h", "b/x.h"}
    assert set(circle(includes(wrong), folder_of)) == {"a", "b"}


@pytest.mark.parametrize("line", ['#include "no/such.h"', "#include MACRO"])
def test_an_include_that_cannot_be_followed_is_an_error(line: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"a/low\.h includes"):
        includes(written(tmp_path, {"a/low.h": line}))


@needs_compiler
def test_a_circle_of_calls_is_seen_even_where_a_compiler_inlines(tmp_path: Path) -> None:
    def edges(folder: Path) -> Edges:
        return calls(compile_all([("core", folder / "a/top.c"), ("core", folder / "a/low.c")], folder, folder))

    assert edges(written(tmp_path / "right", {})) == [("a/top.c", "a/low.c", "low")]
    back = "int top(void);\nstatic int step(void) { return top(); }\nint low(void) { return step(); }\n"
    assert set(circle(edges(written(tmp_path / "wrong", {"a/low.c": back})))) == {"a/top.c", "a/low.c"}
