"""The handlers of addresses that are not about operations: tokens, health, metrics and the API's documentation.

The documentation is served from local files.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import structlog
from blacksheep import Content, Request, Response

from batchseal.api import schemas
from batchseal.api.authentication import Authenticator, parse_basic
from batchseal.api.contract import Contract
from batchseal.api.metrics import Metrics
from batchseal.api.offered_service import OfferedService
from batchseal.api.problem import MEDIA_TYPE, Problems
from batchseal.api.routes import JSON, exchange_of, header, json_reply
from batchseal.api.schemas import Health, Token
from batchseal.api.tokens import LIFETIME_SECONDS, Issued
from batchseal.errors import (
    ApiError,
    BatchsealError,
    InvalidRequest,
    NotFound,
    TooLarge,
    ValueNotAllowed,
)

MAX_TOKEN_FORM_BYTES = 64 << 10
SCOPE = "sign"

log = structlog.get_logger("api")
SWAGGER_FILES = {
    "swagger-ui-bundle.js": b"text/javascript",
    "swagger-ui.css": b"text/css",
    "favicon-32x32.png": b"image/png",
}
# The page must not contact other hosts. By default, Swagger UI sends the document's address to a validator on the internet
# and shows its verdict as a badge; `validatorUrl: null` stops that. It calls the host that it came from, whatever address the
# document names: the browser may know the service by another one, and the page's policy forbids other hosts.
SWAGGER_START = """fetch("%s").then((reply) => reply.json()).then((spec) => {
  spec.servers = [{url: window.location.origin}];
  SwaggerUIBundle({spec, dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});
});
"""
SWAGGER_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Batchseal</title>
<link rel="icon" href="{files}/favicon-32x32.png"><link rel="stylesheet" href="{files}/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="{files}/swagger-ui-bundle.js"></script><script src="{files}/start.js"></script></body>
</html>
"""
ROOT_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Batchseal</title></head>
<body>
<h1>Batchseal</h1>
<p>This is the address of an interface for programs. It is at <code>{api}</code>.</p>
<p><a href="{pages}">Documentation</a></p>
<p><a href="{documentation}">Methods of the interface</a></p>
</body>
</html>
"""
ROOT_POLICY = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PAGE_POLICY = (
    b"default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none';"
    b" base-uri 'none'; object-src 'none'; form-action 'none'"
)


class ServiceRoutes:
    """The handlers. `openapi` is the OpenAPI document as JSON."""

    def __init__(
        self,
        service: OfferedService,
        authenticator: Authenticator,
        contract: Contract,
        problems: Problems,
        metrics: Metrics,
        openapi: bytes,
    ) -> None:
        self.service = service
        self.authenticator = authenticator
        self.contract = contract
        self.problems = problems
        self.counts = metrics
        self.openapi = openapi
        self.warned_of: set[str] = set()  # client services whose secret was seen in an address

    # --- tokens (RFC 6749 4.4) ------------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        """Issues a token for client credentials. A missing grant_type counts as client_credentials."""
        try:
            query, body = await self.token_form(request)
            form = query | body
            if form.get("grant_type", "client_credentials") != "client_credentials":
                raise ValueNotAllowed("grant_type must be client_credentials")
            issued = await self.issue(header(request, b"authorization"), form, exchange_of(request).peer)
        except ApiError as error:
            return self.token_refused(error)
        if "client_secret" in query:
            self.warn_of_address(issued.client_service)
        token = Token(issued.token, "bearer", LIFETIME_SECONDS, SCOPE, issued.token_id)
        return json_reply(schemas.encode(token), (b"pragma", b"no-cache"))

    def warn_of_address(self, client_service: str) -> None:
        """Logs once for each client service that its secret stands in addresses, which RFC 6749 2.3.1 forbids."""
        if client_service not in self.warned_of:
            self.warned_of.add(client_service)
            log.warning(
                "a client_secret stands in the address of a token request, and proxies log addresses; send it in the body or in"
                " an Authorization header, and replace it",
                client_service=client_service,
            )

    async def token_form(self, request: Request) -> tuple[dict[str, str], dict[str, str]]:
        """The parameters of the query, and those of a form in the body. Raises TooLarge, InvalidRequest."""
        body = bytearray()
        async for chunk in exchange_of(request).body():
            body += chunk
            if len(body) > MAX_TOKEN_FORM_BYTES:
                raise TooLarge(f"the form is larger than {MAX_TOKEN_FORM_BYTES} bytes")
        try:
            texts = [exchange_of(request).scope["query_string"].decode("ascii"), body.decode("ascii")]
            query, form = (parse_qs(text, True, errors="strict", max_num_fields=100) for text in texts)
        except ValueError:
            raise InvalidRequest("the form is not URL-encoded text") from None
        return single_values(query), single_values(form)

    async def issue(self, authorization: str | None, form: dict[str, str], peer: str) -> Issued:
        """A token for the credentials in the Authorization header, or for those in the form if there is no Basic header."""
        scheme, _, credentials = (authorization or "").strip().partition(" ")
        if scheme.lower() != "basic":
            return await self.authenticator.issued(form.get("client_id", ""), form.get("client_secret", ""), peer)
        # RFC 6749 2.3.1 requires that id and secret are form-encoded inside Basic. Most clients send them plain, so the plain
        # form is tried first.
        return await self.authenticator.issued(*parse_basic(credentials.strip()), peer, form_encoded=True)

    def token_refused(self, error: ApiError) -> Response:
        """The error reply of the contract, with the member `error` that OAuth clients read (RFC 6749 5.2)."""
        status = self.problems.status(error)
        oauth = "invalid_client" if status in (401, 403) else "invalid_request"
        if isinstance(error, ValueNotAllowed):
            oauth = "unsupported_grant_type"
        body = self.problems.body(error, error=oauth)
        return Response(status, self.problems.headers(error), Content(MEDIA_TYPE, body))

    # --- health and metrics ---------------------------------------------------------------------------------

    async def live(self, request: Request) -> Response:
        return json_reply(schemas.encode(Health("UP")))

    async def ready(self, request: Request) -> Response:
        """200 if every part is "ok" or has only a warning, else 503. Strangers do not see the parts."""
        checks = await self.service.ready()
        up = is_up(checks)
        shown = checks if await self.may_see_parts(request) else {}
        body = schemas.encode(Health("UP" if up else "DOWN", shown))
        return json_reply(body, status=200 if up else 503)

    async def may_see_parts(self, request: Request) -> bool:
        """Whether the caller is on this machine, as `batchseal probe` and `check` are, or proves to be a client service.

        Wrong credentials count against their sender, but they do not make a service seem to be down.
        """
        authorization = header(request, b"authorization")
        if exchange_of(request).is_local or not authorization:
            return exchange_of(request).is_local
        try:
            await self.authenticator.caller(authorization, exchange_of(request).peer)
        except BatchsealError:
            return False
        return True

    async def metrics(self, request: Request) -> Response:
        """What names client services, credentials or addresses is shown to those alone who see the parts of `ready`."""
        inner = await self.may_see_parts(request)
        media_type, text = self.counts.exposition(await self.service.numbers(), inner=inner)
        return Response(200, None, Content(media_type, text))

    # --- the address itself ---------------------------------------------------------------------------------

    async def root(self, request: Request) -> Response:
        """What this address is: a short page for a browser, JSON for everybody else. Strangers are not told the version."""
        base = self.contract.bases[0]
        addresses = {
            "api": base + self.contract.version,
            "documentation": base + self.contract.swagger,
            "pages": base + self.contract.documentation,
            "openapi": base + self.contract.openapi,
        }
        if "text/html" not in (header(request, b"accept") or ""):
            return json_reply(msgspec.json.encode({"name": "Batchseal", **addresses}))
        headers = [(b"content-security-policy", ROOT_POLICY)]
        return Response(200, headers, Content(b"text/html; charset=utf-8", ROOT_PAGE.format(**addresses).encode()))

    # --- documentation --------------------------------------------------------------------------------------

    def base(self, request: Request) -> str:
        """The base path that the caller used."""
        address = exchange_of(request).address
        return address.base if address else self.contract.bases[0]

    async def swagger(self, request: Request) -> Response:
        page = SWAGGER_PAGE.format(files=self.base(request) + self.contract.swagger_files)
        headers = [(b"content-security-policy", PAGE_POLICY)]
        return Response(200, headers, Content(b"text/html; charset=utf-8", page.encode()))

    async def swagger_file(self, request: Request) -> Response:
        name = (request.route_values or {}).get("file") or ""
        if name == "start.js":
            start = (SWAGGER_START % (self.base(request) + self.contract.openapi)).encode()
            return Response(200, None, Content(b"text/javascript", start))
        if name not in SWAGGER_FILES:
            raise NotFound(f"there is no file {name[:80]!r}")
        return Response(200, None, Content(SWAGGER_FILES[name], (swagger_folder() / name).read_bytes()))

    async def documentation(self, request: Request) -> Response:
        """Leads to the first page. Below it all links are relative, so its address must end in a file."""
        return Response(302, [(b"location", f"{self.base(request)}{self.contract.documentation}/index.html".encode())])

    async def documentation_file(self, request: Request) -> Response:
        """One file of the pages. Caches may keep it, and have to ask whether it is still the same."""
        from batchseal.api.documentation import documentation_file  # few callers ask for the pages

        name = (request.route_values or {}).get("tail") or ""
        reply = documentation_file(name, header(request, b"if-none-match"))
        exchange_of(request).is_public = True
        return reply

    async def openapi_document(self, request: Request) -> Response:
        return Response(200, None, Content(JSON, self.openapi))


def is_up(checks: Mapping[str, str]) -> bool:
    """Whether every part is "ok" or has only a warning."""
    return all(state == "ok" or state.startswith("warning: ") for state in checks.values())


def single_values(parameters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The value of each parameter. Raises InvalidRequest if one stands there with two values (RFC 6749 3.2)."""
    for name, values in parameters.items():
        if len(set(values)) > 1:
            raise InvalidRequest(f"{name[:80]} is given more than once")
    return {name: values[0] for name, values in parameters.items()}


def swagger_folder() -> Path:
    """The folder of the Swagger UI files in the installed package `swagger-ui-py`. The package's code is not imported."""
    spec = importlib.util.find_spec("swagger_ui")
    if spec is None or not spec.submodule_search_locations:
        raise NotFound("the Swagger files are not installed")
    return Path(spec.submodule_search_locations[0]) / "static"
