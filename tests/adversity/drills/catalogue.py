"""Imports every module with drills, which register themselves."""

from tests.adversity.drills import (  # noqa: F401
    api_fuzz,
    busy_disk,
    checksums,
    clock,
    crashes,
    fuzzing,
    noisy,
    payloads,
    power,
    seasons,
    shutdown,
    slow_readers,
    tenants,
    trouble,
)
