"""`batchseal sandbox`: runs the sandbox alone.

Its flags are defined in `sandbox/__main__.py`, since the supervisor starts the sandbox as a process of its own.
"""

from collections.abc import Sequence

from batchseal.sandbox.__main__ import main


def run(arguments: Sequence[str]) -> int:
    return main(arguments)
