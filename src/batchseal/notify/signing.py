"""The headers of Standard Webhooks 1.0: the id of the event, the time of this delivery, and its signatures."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


def signed_headers(event_id: str, body: bytes, keys: Sequence[bytes], now_seconds: float) -> dict[str, str]:
    """The headers of a delivery at `now_seconds` (Unix time): one signature for each key, HMAC-SHA256 over id, time and body.

    A receiver accepts any of the signatures, so that a secret can be replaced while events are on their way.
    """
    timestamp = str(int(now_seconds))
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    signatures = ["v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {ID: event_id, TIMESTAMP: timestamp, SIGNATURE: " ".join(signatures)}
