"""Builds the ASGI application: the routes of the contract as BlackSheep handlers, with the guard in front of them."""

import logging
from collections.abc import Awaitable, Callable

from blacksheep import Application, Content, Request, Response, Router

from batchseal.api.authentication import Authenticator
from batchseal.api.contract import Contract, load_contract
from batchseal.api.guard import DEFAULT_PACE, Guard, GuardPace
from batchseal.api.metrics import Metrics
from batchseal.api.offered_service import OfferedService
from batchseal.api.openapi import openapi_document, server_address
from batchseal.api.problem import MEDIA_TYPE, Problems
from batchseal.api.routes import Routes, exchange_of
from batchseal.api.service_routes import ServiceRoutes
from batchseal.errors import ApiError, MethodNotAllowed, NotFound
from batchseal.settings.load import Settings
from batchseal.system.telemetry.tracing import NOTHING, span

Handler = Callable[[Request], Awaitable[Response]]


async def create_application(
    service: OfferedService, authenticator: Authenticator, settings: Settings, pace: GuardPace = DEFAULT_PACE
) -> Guard:
    """Returns the application, started and ready to serve.

    Raises ConfigurationError if the file of `--compat.contract` cannot be used.
    """
    contract = load_contract(settings.compat_contract)
    problems = Problems(vendor_status_codes=settings.compat_vendor_status_codes)
    routes = Routes(service, authenticator, contract, settings)
    metrics = Metrics(settings.metrics_folder, settings.worker if settings.workers > 1 else 0)
    openapi = openapi_document(contract, server_address(settings), has_metrics=settings.metrics_on_api)
    service_routes = ServiceRoutes(service, authenticator, contract, problems, metrics, openapi)
    table = [
        row for row in route_table(contract, routes, service_routes) if settings.metrics_on_api or row[0] != "metrics"
    ]
    application = Application(router=Router())
    application.logger.setLevel(logging.ERROR)
    for name, verb, path, handler in table:
        application.router.add(verb, path, named(name, handler, traced=name in contract.routes))
    application.router.fallback = fallback({verb for _, verb, _, _ in table}, application, problems)

    async def problem(_: Application, request: Request, error: Exception) -> Response:
        exchange = exchange_of(request)
        if exchange.gone:
            return Response(499)  # The caller has gone and nobody reads this. Sending it ends the request.
        known = error if isinstance(error, ApiError) else problems.unexpected(error, exchange.scope["path"])
        return reply_to(problems, known)

    application.exceptions_handlers[ApiError] = problem
    application.exceptions_handlers[Exception] = problem
    await application.start()  # type: ignore[no-untyped-call]
    return Guard(application, contract, problems, metrics, settings, pace)


def route_table(contract: Contract, routes: Routes, service: ServiceRoutes) -> list[tuple[str, str, str, Handler]]:
    """Every address of the service as (name, HTTP method, path, handler)."""
    base = contract.bases[0]
    below = base + contract.version
    table = [(r.name, r.verb, below + r.routed, getattr(routes, r.name)) for r in contract.routes.values()]
    return [
        *table,
        ("root", "GET", "/", service.root),
        ("token", "POST", contract.token, service.token),
        ("live", "GET", contract.live, service.live),
        ("ready", "GET", contract.ready, service.ready),
        ("metrics", "GET", contract.metrics, service.metrics),
        ("swagger", "GET", base + contract.swagger, service.swagger),
        ("swagger", "GET", base + contract.swagger_files + "/{file}", service.swagger_file),
        ("openapi", "GET", base + contract.openapi, service.openapi_document),
        ("documentation", "GET", base + contract.documentation, service.documentation),
        ("documentation", "GET", base + contract.documentation + "/*", service.documentation_file),
    ]


def named(name: str, handler: Handler, *, traced: bool) -> Handler:
    """Wraps `handler` so that it stores the route's name in the exchange, where the metrics read it. `traced`: and in a span."""

    async def run(request: Request) -> Response:
        exchange_of(request).route = name
        with span(name, is_request=True) if traced else NOTHING:
            return await handler(request)

    return run


def fallback(verbs: set[str], application: Application, problems: Problems) -> Handler:
    """Returns the handler for requests that no route fits.

    It answers 405 if the path exists with another HTTP method, and 404 if it does not exist.
    """

    async def unknown(request: Request) -> Response:
        path = exchange_of(request).scope["path"]
        routed = request.url.path
        fitting = sorted(verb for verb in verbs if fits(application.router, verb, routed))
        if not fitting:
            return reply_to(problems, NotFound(f"there is no address {path[:200]!r}"))
        allowed = ", ".join([*fitting, "HEAD"] if "GET" in fitting else fitting)
        reply = reply_to(problems, MethodNotAllowed(f"this address takes {allowed}"))
        reply.add_header(b"allow", allowed.encode())
        return reply

    return unknown


def fits(router: Router, verb: str, path: bytes) -> bool:
    """Whether a route takes this HTTP method and path. BlackSheep returns the fallback as a match too; it does not count."""
    match = router.get_match_by_method_and_path(verb, path)
    return match is not None and match.handler is not router.fallback.handler


def reply_to(problems: Problems, error: ApiError) -> Response:
    """`error` as a BlackSheep response."""
    return Response(problems.status(error), problems.headers(error), Content(MEDIA_TYPE, problems.body(error)))
