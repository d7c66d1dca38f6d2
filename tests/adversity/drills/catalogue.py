"""Imports every module with drills, which register themselves."""

from tests.adversity.drills import (  # noqa: F401
    api_fuzz,
    bombs,
    busy_disk,
    checksums,
    clock,
    crashes,
    fuzzing,
    headers,
    instances,
    long_term,
    noisy,
    payloads,
    power,
    responder,
    seasons,
    shared_stores,
    shutdown,
    slow_readers,
    tenants,
    trouble,
)
