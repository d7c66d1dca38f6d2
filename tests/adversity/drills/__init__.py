"""Drills: each breaks something on purpose, many times, and judges what is left.

    python -m tests.adversity.drills                    all short forms, into benchmarks/results/drills.json
    python -m tests.adversity.drills kill-random        one of them
    python -m tests.adversity.drills kill-random --long its long form, which has an entry of its own

The suite runs a few trials of each (`test_drills.py`). A drill opens what its trials share and gives the function of one
trial, which raises AssertionError where something does not hold and may return figures, of which the worst is kept.
"""

from tests.adversity.drills.registry import DRILLS, Drill, drill, run

__all__ = ["DRILLS", "Drill", "drill", "run"]
