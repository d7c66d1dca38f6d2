"""`batchseal sandbox`."""

from collections.abc import Sequence

from batchseal.sandbox.__main__ import main


def run(arguments: Sequence[str]) -> int:
    return main(arguments)
