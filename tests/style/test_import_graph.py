"""The import graph of the package: no circle between modules, and a top level that fits on a page.

The layers themselves are in pyproject.toml, and `make lint` checks them. Imports that only type checkers see are left out.
"""

import grimp
import pytest

ROOMS_AT_MOST = 30


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Each module with the modules that it imports."""
    graph = grimp.build_graph("batchseal", exclude_type_checking_imports=True)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules each of which reaches all the others: what is left once nothing more can be taken off either end."""
    left = {module: {name for name in names if name in imports} for module, names in imports.items()}
    while left:
        imported = set[str]().union(*left.values())
        ends = {module for module, names in left.items() if not names or module not in imported}
        if not ends:
            return [set(left)]
        left = {module: names - ends for module, names in left.items() if module not in ends}
    return []


def test_no_module_imports_itself_by_way_of_others(imports: dict[str, set[str]]) -> None:
    assert len(imports) > 100
    assert circles(imports) == []


def test_a_circle_would_be_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_the_top_level_fits_on_a_page(imports: dict[str, set[str]]) -> None:
    rooms = {module.split(".")[1] for module in imports if "." in module}
    assert len(rooms) <= ROOMS_AT_MOST, sorted(rooms)
