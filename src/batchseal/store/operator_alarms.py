"""What an operator should look at, as far as the database tells it."""

from collections.abc import Sequence

from batchseal.store.operator_figure_rows import Alarm, CredentialLine, InstanceLine, Overview

# A certificate is renewed in good time from this on (30 days), and in a hurry from this on.
CERTIFICATE_DAYS, CERTIFICATE_LAST_DAYS = 30, 7
# Nothing should wait for so long, and no audit entry outside the chain.
QUEUE_SECONDS = 3_600.0
UNCHAINED_ENTRIES = 50_000


def alarms_of(
    overview: Overview, credentials: Sequence[CredentialLine], instances: Sequence[InstanceLine]
) -> list[Alarm]:
    """The alarms, the worst first."""
    found = [alarm for line in credentials for alarm in of_credential(line)]
    for one in instances:
        if not one.is_alive and one.left_at is None and one.own:
            found.append(
                Alarm("instance gone", "critical", one.address, {"operations": one.own, "seconds": one.seconds_ago})
            )
    if overview.oldest_seconds > QUEUE_SECONDS:
        values = {"seconds": overview.oldest_seconds, "operations": overview.queue_operations}
        found.append(Alarm("queue old", "warning", "", values))
    if overview.held_operations:
        found.append(Alarm("held", "warning", "", {"operations": overview.held_operations}))
    if overview.audit_problem:
        found.append(Alarm("audit broken", "critical", "", {"problem": overview.audit_problem}))
    if overview.unchained_entries > UNCHAINED_ENTRIES:
        found.append(Alarm("audit waits", "warning", "", {"entries": overview.unchained_entries}))
    return sorted(found, key=lambda alarm: alarm.severity != "critical")


def of_credential(line: CredentialLine) -> list[Alarm]:
    """Those of a credential: of its grant, and of its certificate."""
    found = []
    subject = f"{line.credential_id} ({line.client_service})"
    if line.state == "lapsed":
        found.append(Alarm("grant lapsed", "critical", subject))
    elif line.state == "ends soon":
        values: dict[str, str | int | float] = {}
        if line.grant_days_left is not None:
            values["days"] = line.grant_days_left
        if line.grant_left is not None:
            values["signatures"] = line.grant_left
        found.append(Alarm("grant ends", "warning", subject, values))
    days = line.certificate_days_left
    if days is not None and days < CERTIFICATE_DAYS:
        severity = "critical" if days < CERTIFICATE_LAST_DAYS else "warning"
        kind = "certificate ended" if days < 0 else "certificate ends"
        found.append(Alarm(kind, severity, subject, {"days": days}))
    return found
