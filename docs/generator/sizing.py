"""The table of loads that were measured in a container, from the results of the container test."""

import json
import re

from docs.generator.texts import ROOT, table

RESULTS = ROOT / "benchmarks" / "results" / "container.json"
LOAD = re.compile(r"(\d+)x(\d+)_(\d+)mb_valid")


def loads() -> str:
    """For each load the memory that it was measured to pass in, with all documents valid and nothing refused."""
    results = json.loads(RESULTS.read_text("utf-8"))
    rows = []
    for documents, requests, megabytes in sorted(
        tuple(map(int, m.groups())) for m in map(LOAD.fullmatch, results) if m
    ):
        key = f"{documents}x{requests}_{megabytes}mb"
        if results[f"{key}_valid"] == documents * requests and not results[f"{key}_refusals"]:
            rows.append([f"{requests} requests of {documents:,} files of 200 KB at once", f"{megabytes} MB"])
    return table(["load", "memory that is enough"], rows)
