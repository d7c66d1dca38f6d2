"""The event that a certificate will end: told once at each of DAYS before its end, to every client service that signs with it."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from batchseal.document import CertificateEnd
from batchseal.store.webhooks import EventKind, WebhookTable

DAYS = (60, 30, 14, 7, 3, 1)
DAY_SECONDS = 86_400.0


def days_told(end: CertificateEnd, now: datetime) -> int | None:
    """The smallest of DAYS within which a certificate ends, or None if its end is farther away than all of them."""
    left = (end.not_after - now).total_seconds() / DAY_SECONDS
    return min((days for days in DAYS if left <= days), default=None)


async def tell(table: WebhookTable, ends: Iterable[CertificateEnd], told: frozenset[str]) -> None:
    """Leaves an event for each certificate that is near its end. `told` are the client services that want such events.

    Raises DatabaseUnavailable.
    """
    now = datetime.now(UTC)
    for end in ends:
        if end.client_service in told and (days := days_told(end, now)) is not None:
            subject = f"{end.fingerprint.hex()} {days}"
            details = {
                "credentialId": end.credential_id,
                "subject": end.subject,
                "notAfter": end.not_after.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "daysLeft": max(0, int((end.not_after - now).total_seconds() / DAY_SECONDS)),
            }
            await table.add(end.client_service, EventKind.CREDENTIAL_EXPIRING, subject, json.dumps(details))
