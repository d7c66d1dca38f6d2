"""Which request or operation the present task works for: the request's id, and where it stands in a trace.

Both come with the caller's headers, stand in the row of the operation, and are set again by the signer when it works on it. So
they are in every line of the log, and spans of both processes belong to one trace.
"""

import re
from contextvars import ContextVar
from uuid import uuid4

MOST_CHARACTERS = 64
NOT_ALLOWED = re.compile(r"[^A-Za-z0-9._:@+=/-]")
# W3C Trace Context 3.2: version, trace id, parent id, flags. A version that is newer than 00 may have more behind it.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

REQUEST_ID: ContextVar[str] = ContextVar("batchseal_request_id", default="")
TRACE_PARENT: ContextVar[str] = ContextVar("batchseal_trace_parent", default="")


def cleaned(given: str) -> str:
    """The request id that a caller gave, without characters that could forge a line of a log; a new one where nothing is left."""
    return NOT_ALLOWED.sub("", given[: 4 * MOST_CHARACTERS])[:MOST_CHARACTERS] or uuid4().hex


def parent_in(header: str) -> str:
    """The caller's place in a trace, or an empty text if the header is not one of W3C Trace Context."""
    found = TRACEPARENT.match(header.strip())
    return found[0] if found else ""
