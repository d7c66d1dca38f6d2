"""The plans that a new service keeps: each finds its operations by an index, although the table is still empty."""

import re

import asyncpg
import pytest

from batchseal.store.queries import QUERIES

# What runs for each document, or for a few of them together.
OFTEN = ["audit_waiting", "audit_waiting_in_store", "end_single", "mark_fetched", "record_outcomes"]


@pytest.mark.parametrize("name", OFTEN)
async def test_no_operation_is_looked_for_among_all(sees_all_rows: asyncpg.Connection, name: str) -> None:
    query = QUERIES[name]
    nothing = ", ".join(["NULL"] * max(map(int, re.findall(r"\$(\d+)", query))))
    await sees_all_rows.execute(f"PREPARE often AS {query}")
    lines = [record[0] for record in await sees_all_rows.fetch(f"EXPLAIN EXECUTE often({nothing})")]
    assert any("Index Scan using operations_" in line for line in lines), lines
    assert not any("Seq Scan on operations" in line for line in lines), lines
