"""Imports every module with drills, which register themselves."""

from tests.adversity.drills import crashes, payloads, trouble  # noqa: F401
