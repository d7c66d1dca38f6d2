"""Imports every module with drills, which register themselves."""

from tests.adversity.drills import api_fuzz, crashes, fuzzing, payloads, power, seasons, shutdown, tenants, trouble  # noqa: F401
