"""Figures: see `operator.py`."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from batchseal.errors import ValueNotAllowed
from batchseal.store.credentials import grant_state
from batchseal.store.instances import LEASE_SECONDS
from batchseal.store.operator_actions import OperatorActions
from batchseal.store.operator_connection import DAY
from batchseal.store.operator_cursors import MAX_ID, decode_cursor, encode_cursor
from batchseal.store.operator_details import EVENTS
from batchseal.store.operator_figure_rows import (
    AuditLine,
    AuditState,
    ClientServiceLine,
    Consumption,
    CredentialLine,
    InstanceLine,
    Overview,
    Sample,
    Storage,
    StorageShare,
    TimeStampLine,
)
from batchseal.store.operator_lists import COLUMNS
from batchseal.store.operator_rows import ENTRIES_A_PAGE, Page
from batchseal.store.queries import QUERIES
from batchseal.store.samples import Metric
from batchseal.store.trail import Verified

# What "lately" is on the first page.
WINDOW_SECONDS = 300.0


class OperatorFigures(OperatorActions):
    """What the database can count."""

    async def overview(self) -> Overview:
        """The figures of the first page. What the upstream says of itself comes over the link to the signer."""
        async with self._reading() as connection:
            queue = await connection.fetchrow(QUERIES["operator_queue"])
            received = await connection.fetchval(QUERIES["operator_received"], WINDOW_SECONDS)
            now = await connection.fetchval("SELECT now()")
            began = now - timedelta(seconds=WINDOW_SECONDS)
            ended = dict(await connection.fetchrow(QUERIES["ended_lately"], began, now))
            verified = await connection.fetchrow(QUERIES["audit_verified"])
        minutes = WINDOW_SECONDS / 60
        return Overview(
            **dict(queue),
            received_a_minute=received / minutes,
            signed_a_minute=ended.pop("signed") / minutes,
            failed_a_minute=ended.pop("failed") / minutes,
            window_seconds=WINDOW_SECONDS,
            audit_problem=verified["problem"] if verified else "",
            **ended,
        )

    async def client_services(self) -> list[ClientServiceLine]:
        """All client services that have ever used this database, by name."""
        async with self._reading() as connection, connection.transaction():
            services = await self._services(connection)
            # The planner expects row security to leave few rows, and would sort all those with a payload to add them up.
            await connection.execute("SET LOCAL enable_sort = off")
            records = await connection.fetch(QUERIES["operator_client_services"], services)
        return [ClientServiceLine(**record) for record in records]

    async def consumption(self, first: date, last: date, client_service: str = "") -> list[Consumption]:
        """What was used in the months from `first` to `last` (any day of them), by month and client service."""
        asked = first.replace(day=1), last.replace(day=1), client_service.replace("\0", "")
        async with self._reading() as connection:
            return [Consumption(**record) for record in await connection.fetch(QUERIES["operator_consumption"], *asked)]

    async def credentials(self) -> list[CredentialLine]:
        """The credentials that signers have noted. Those that need an operator first come first."""
        async with self._reading() as connection:
            lines = [_credential(record) for record in await connection.fetch(QUERIES["operator_credentials"])]
        ranks = ("lapsed", "ends soon", "ok")
        return sorted(lines, key=lambda line: ranks.index(line.state))

    async def time_stamps(self) -> list[TimeStampLine]:
        """The time stamp authorities that were ever asked, by address."""
        async with self._reading() as connection:
            return [TimeStampLine(**record) for record in await connection.fetch(QUERIES["operator_time_stamps"])]

    async def instances(self) -> list[InstanceLine]:
        """All instances that were ever here and were not forgotten, the one that started first comes first."""
        async with self._reading() as connection:
            return [_instance(record) for record in await connection.fetch(QUERIES["operator_instances"])]

    async def storage(self) -> Storage:
        """What is stored, by state."""
        async with self._reading() as connection:
            shares = await connection.fetch(QUERIES["operator_stored"])
            largest = await connection.fetch(QUERIES["operator_largest"].format(columns=COLUMNS))
            tables = await connection.fetch(QUERIES["operator_tables"])
            whole = await connection.fetchval("SELECT pg_database_size(current_database())")
        return Storage(
            shares=tuple(StorageShare(**record) for record in shares),
            largest=tuple(self._line(record) for record in largest),
            tables={record["name"]: record["bytes"] for record in tables},
            database_bytes=whole,
        )

    async def samples(
        self, metrics: Sequence[str], since: datetime, until: datetime, step_seconds: float = 60.0
    ) -> dict[str, list[Sample]]:
        """For each of these metrics (`samples.Metric`), its samples in steps, the oldest first.

        Raises ValueNotAllowed for a metric that does not exist.
        """
        try:
            numbers = [int(Metric[name]) for name in metrics]
        except KeyError as problem:
            raise ValueNotAllowed(f"there is no metric {problem.args[0]!r}") from None
        asked = numbers, since, until, max(60.0, step_seconds)
        found: dict[str, list[Sample]] = {name: [] for name in metrics}
        async with self._reading() as connection:
            for record in await connection.fetch(QUERIES["operator_samples"], *asked):
                found[Metric(record["metric"]).name].append(Sample(record["at"], record["mean"], record["largest"]))
        return found

    async def audit(self, cursor: str | None = None, limit: int = ENTRIES_A_PAGE) -> Page[AuditLine]:
        """Entries of the audit trail, the newest first; those that are not in the chain yet come before all others."""
        is_waiting, before = decode_cursor(cursor, (int, int)) if cursor is not None else (1, MAX_ID)
        async with self._reading() as connection:
            records = []
            if is_waiting:
                records = await connection.fetch(QUERIES["operator_audit_pending"], before, limit + 1)
                before = MAX_ID
            if len(records) <= limit:
                records += await connection.fetch(QUERIES["operator_audit"], before, limit + 1 - len(records))
        following = None
        if len(records) > limit:
            last = records[limit - 1]
            position = last["position"]
            following = encode_cursor(1, last["id"]) if position is None else encode_cursor(0, position)
        return Page(tuple(_audit_line(record) for record in records[:limit]), following)

    async def audit_state(self) -> AuditState:
        """The end of the chain and the exports."""
        async with self._reading() as connection:
            last = await connection.fetchrow(QUERIES["audit_last"])
            waiting = await connection.fetchval(QUERIES["operator_waiting"])
            anchors = await connection.fetch(QUERIES["audit_anchors"])
            verified = await connection.fetchrow(QUERIES["audit_verified"])
        return AuditState(
            last_position=last["position"] if last else 0,
            last_link=last["link"].hex() if last else "",
            waiting=waiting,
            exports=tuple((a["month"], a["last_position"], a["entries"], a["file"], a["exported_at"]) for a in anchors),
            verified=Verified(**verified) if verified else None,
        )


def _instance(record: Mapping[str, Any]) -> InstanceLine:
    plain = {name: record[name] for name in InstanceLine.__slots__ if name not in ("is_alive", "duties", "lanes")}
    return InstanceLine(
        **plain,
        is_alive=record["left_at"] is None and record["seconds_ago"] < LEASE_SECONDS,
        duties=tuple(record["duties"]),
        lanes=tuple(record["lanes"]),
    )


def _audit_line(record: Mapping[str, Any]) -> AuditLine:
    names = AuditLine.__slots__
    return AuditLine(
        **{name: record[name] for name in names if name != "event"},
        event=EVENTS.get(record["event"], str(record["event"])),
    )


def _credential(record: Mapping[str, Any]) -> CredentialLine:
    facts = json.loads(record["facts"])
    now, ends = record["now"], record["grant_ends_at"]
    valid_to = datetime.fromisoformat(facts["validTo"]) if facts.get("validTo") else None
    days = (ends - now).total_seconds() / DAY if ends is not None else None
    return CredentialLine(
        credential_id=record["credential_id"],
        client_service=record["client_service"],
        subject=facts.get("subject", ""),
        issuer=facts.get("issuer", ""),
        serial=facts.get("serial", ""),
        key=facts.get("key", ""),
        valid_to=valid_to,
        certificate_days_left=(valid_to - now).days if valid_to is not None else None,
        multisign=facts.get("multisign", 0),
        needs_otp=record["needs_otp"],
        needs_pin=facts.get("needsPin", False),
        grant_began_at=record["grant_began_at"],
        grant_ends_at=ends,
        grant_days_left=max(0.0, days) if days is not None else None,
        grant_total=record["grant_total"],
        grant_left=record["grant_left"],
        state=grant_state(days, record["grant_total"], record["grant_left"]) if record["needs_otp"] else "ok",
        problem=record["problem"],
        noted_at=record["noted_at"],
        lane_holder=record["lane_holder"],
    )
