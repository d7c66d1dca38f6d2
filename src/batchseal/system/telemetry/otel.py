"""Spans of OpenTelemetry, sent to a collector by OTLP over HTTP. Loaded only where `--otlp-endpoint` is set.

Its packages are an extra, batchseal[otel]: they take 16 MB in each process.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from batchseal import __version__
from batchseal.system.telemetry.context import TRACE_PARENT
from batchseal.system.telemetry.spans import Attribute, MakeSpan

FLUSH_MS = 2000
PROVIDERS: list[TracerProvider] = []


def maker(endpoint: str, percent: float, process: str, instance: str) -> MakeSpan:
    """What makes the spans of this process."""
    resource = Resource.create(
        {
            "service.name": "batchseal",
            "service.version": __version__,
            "service.instance.id": instance,
            "process.executable.name": process,
        }
    )
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(percent / 100)), resource=resource)
    # Its thread is started here, in the process that makes the spans: it would not survive a fork.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    PROVIDERS.append(provider)
    tracer = provider.get_tracer("batchseal", __version__)

    def make(name: str, is_request: bool, attributes: Mapping[str, Attribute]) -> AbstractContextManager[None]:
        return recorded(tracer, name, is_request, attributes)

    return make


@contextmanager
def recorded(tracer: trace.Tracer, name: str, is_request: bool, attributes: Mapping[str, Attribute]) -> Iterator[None]:
    """A span below the one that TRACE_PARENT names, which is the caller's or our own. Inside the block it names this one.

    Of an error only its class is kept: its text may hold what a caller has named.
    """
    parent_text = TRACE_PARENT.get()
    if parent_text and not int(parent_text[-2:], 16) & trace.TraceFlags.SAMPLED:
        yield  # the trace is not kept, and that was decided for all of it where it began
        return
    parent = context_of(parent_text)
    kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.INTERNAL
    one = tracer.start_span(name, parent, kind, dict(attributes))
    token = TRACE_PARENT.set(parent_of(one.get_span_context()))
    try:
        yield
    except BaseException as problem:
        one.set_status(trace.StatusCode.ERROR, type(problem).__name__)
        raise
    finally:
        TRACE_PARENT.reset(token)
        one.end()


def context_of(parent: str) -> Context:
    """The context in which a span gets this parent (a `traceparent` of W3C Trace Context); without one it is the first."""
    if not parent:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    _, trace_id, span_id, flags = parent.split("-")
    known = trace.SpanContext(int(trace_id, 16), int(span_id, 16), True, trace.TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(trace.NonRecordingSpan(known))


def parent_of(one: trace.SpanContext) -> str:
    return f"00-{one.trace_id:032x}-{one.span_id:016x}-{one.trace_flags:02x}"


def flush() -> None:
    """Sends what waits. For the end of the process."""
    for provider in PROVIDERS:
        provider.force_flush(FLUSH_MS)
