"""Spans: how long each step of a request or an operation took, for a collector of traces. Without one they cost a call that does
nothing.

They are made by hand, about eight for an operation and none for a document:

    worker  request ─┬─ store        the documents arrive, are digested and stored
                     └─ register     the row is written
    signer  sign operation ─┬─ prepare      what the worker could not prepare
                            ├─ upstream     sign calls, and the verification of their answers
                            ├─ time stamps  and validation material, where the level asks for it
                            └─ end          the last outcomes are committed

The caller's `traceparent` is the parent of the request, and the request's own stands in the row, so the signer goes on with the
same trace. Sign calls carry digests of several operations, so they do not carry it.
"""

from contextlib import AbstractContextManager, nullcontext

from batchseal.system.telemetry.spans import Attribute, MakeSpan

NOTHING: AbstractContextManager[None] = nullcontext()
_MAKERS: list[MakeSpan] = []


def span(name: str, *, is_request: bool = False, **attributes: Attribute) -> AbstractContextManager[None]:
    """A span over the block. `attributes` hold no name or reference that a caller gave."""
    return _MAKERS[-1](name, is_request, attributes) if _MAKERS else NOTHING


def begin(endpoint: str, percent: float, process: str, instance: str) -> None:
    """Sends spans to this collector from now on; does nothing without an endpoint. A process calls it once, after its start.

    Raises ImportError if the packages of batchseal[otel] are missing.
    """
    if not endpoint:
        return
    from batchseal.system.telemetry.otel import maker

    _MAKERS.append(maker(endpoint, percent, process, instance))
