"""How versions are compared."""

import pytest

from batchseal.store.versions import numbers


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.3.0", (0, 3)),
        ("0.3", (0, 3)),
        ("0.3.0rc1", (0, 3)),
        ("0.10.2.dev4+g1234", (0, 10, 2)),
        ("1", (1,)),
        ("0", ()),
        ("", ()),
        ("unknown", ()),
    ],
)
def test_the_numbers_of_a_version(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


def test_versions_are_ordered_by_their_numbers() -> None:
    assert numbers("0.9.9") < numbers("0.10.0") < numbers("1.0rc1") <= numbers("1.0") < numbers("1.0.1")
