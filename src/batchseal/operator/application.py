"""The application of the operator's page: every request passes here before a page sees it."""

import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from urllib.parse import quote

import structlog

from batchseal.api.exchange import Exchange, Message, Receive, Send
from batchseal.api.problem import PAUSE_SECONDS, Problems
from batchseal.errors import (
    ApiError,
    CrossSite,
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NoRoom,
    NotFound,
)
from batchseal.operator.rendering import Renderer
from batchseal.operator.request import (
    MAX_QUERY_BYTES,
    MAX_QUERY_FIELDS,
    Reply,
    Request,
    SignedIn,
    read_fields,
    redirect,
)
from batchseal.operator.routing import Routes
from batchseal.operator.security import HEADERS, HSTS, Surroundings
from batchseal.operator.signing_in.headers import HeaderLogin
from batchseal.operator.signing_in.sessions import Sessions
from batchseal.operator.static_files import StaticFiles

log = structlog.get_logger("operator")

MAX_BODY_BYTES, STALL_SECONDS, MIN_RATE = 512 << 10, 20.0, 256
TOKEN_FIELD = "form_token"  # noqa: S105  (the name of a field)


class OperatorApplication:
    """An ASGI application. `more_headers` are those that every reply of the instance has."""

    def __init__(
        self,
        routes: Routes,
        sessions: Sessions,
        surroundings: Surroundings,
        renderer: Renderer,
        proxy_login: HeaderLogin | None,
        more_headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        self._routes = routes
        self._sessions = sessions
        self._surroundings = surroundings
        self._renderer = renderer
        self._proxy_login = proxy_login
        self._static = StaticFiles()
        self._problems = Problems(vendor_status_codes=False)
        self._more_headers = list(more_headers)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        exchange = Exchange(
            *(scope, receive, send),
            max_body_bytes=MAX_BODY_BYTES,
            stall_seconds=STALL_SECONDS,
            min_rate=MIN_RATE,
            more_headers=self._more_headers,
        )
        try:
            await self._answer(exchange, scope, send)
        except ConnectionResetError:
            pass  # the browser has gone, or a reply to HEAD has ended
        except Exception as problem:
            # The reply has begun. It is cut off, and never ended as if it were complete.
            log.warning("reply cut", path=scope["path"], exc_info=problem)
        finally:
            await exchange.close()

    async def _answer(self, exchange: Exchange, scope: Message, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = scope["path"]
        if method == "GET" and (file := self._static.find(path)):
            return await self._static.send(file, exchange, send)
        request = None
        try:
            request = self._request(exchange, scope, method, path)
            reply = await self._reply(request)
        except Exception as problem:
            known = self.known(problem, request, path)
            reply = self._renderer.problem(request, known)
            if known.retry_after_seconds is not None:
                reply.headers.append(("retry-after", str(known.retry_after_seconds)))
        await self._send(exchange, reply, is_secure=request is not None and request.is_secure)

    def known(self, problem: Exception, request: Request | None, path: str) -> ApiError:
        """The error as the page tells it. An operator also reads what the database lacks, such as time for so large a search."""
        if isinstance(problem, ApiError):
            return problem
        if isinstance(problem, DatabaseUnavailable) and request is not None and request.session is not None:
            return NoRoom(problem.cause, retry_after_seconds=PAUSE_SECONDS)
        return self._problems.unexpected(problem, path)

    def _request(self, exchange: Exchange, scope: Message, method: str, path: str) -> Request:
        """The request. Raises InvalidRequest."""
        if len(scope["query_string"]) > MAX_QUERY_BYTES:
            raise InvalidRequest("the address is too long")
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        peer, headers, around = exchange.peer, exchange.headers, self._surroundings
        return Request(
            method=method,
            path=path,
            query=read_fields(scope["query_string"], MAX_QUERY_FIELDS),
            headers=headers,
            exchange=exchange,
            peer=around.peer(peer, forwarded),
            host=around.host(peer, headers),
            is_secure=around.is_secure(peer, headers, scope.get("scheme", "http")),
        )

    async def _reply(self, request: Request) -> Reply:
        found = self._routes.find(request.method, request.path)
        if not isinstance(found, tuple):
            raise (
                MethodNotAllowed(f"this address takes {', '.join(found)}")
                if found
                else NotFound("there is no such page")
            )
        route, request.values = found
        if request.method == "POST" and not self._surroundings.is_from_here(request):
            log.warning("request of another site refused", path=request.path, address=request.peer)
            raise CrossSite("a page of another site had the browser send this; nothing was done")
        more = Reply()
        request.session = await self._session(request, more)
        if route.right is not None:
            if request.session is None:
                return self._to_login(request)
            if not request.may(route.right):
                log.warning("operator refused", operator=request.session.actor, path=request.path, address=request.peer)
                raise Forbidden(f"this needs another role than {request.session.role}")
        if request.method == "POST" and request.session is not None and route.has_token:
            await self._check_token(request, request.session)
        reply = await route.handler(request)
        reply.headers += more.headers
        return reply

    async def _session(self, request: Request, more: Reply) -> SignedIn | None:
        """Who is signed in. With a proxy that signs operators in, it is whom the proxy names, with each request anew."""
        session = await self._sessions.find(request)
        name, role = (self._proxy_login.named(request) if self._proxy_login is not None else None) or ("", None)
        if name and role is None:
            why = "none of the groups that the proxy names has a role here"
            await self._sessions.trail.failed_again(name, request.peer, why)
        if role is not None:
            if session is None or (session.name, session.role, session.source) != (name, role, "header"):
                if request.method != "GET" or not self._surroundings.may_sign_in(request):
                    return None
                session = await self._sessions.begin(request, more, name, role, "header")
        elif session is not None and session.source == "header":
            return None
        return session

    def _to_login(self, request: Request) -> Reply:
        """Where somebody goes who is not signed in. htmx is told to load the whole page."""
        wanted = request.path if request.method == "GET" else "/"
        if query := request.exchange.scope["query_string"].decode("ascii"):
            wanted += f"?{query}" if request.method == "GET" else ""
        address = "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/')}"
        if request.is_part:
            return Reply(status=401, headers=[("hx-redirect", "/login")])
        return redirect(address)

    async def _check_token(self, request: Request, session: SignedIn) -> None:
        """Raises CrossSite unless the form has the token of the session."""
        given = await request.field(TOKEN_FIELD)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), session.form_token.encode()):
            log.warning(
                "form without its token refused", operator=session.actor, path=request.path, address=request.peer
            )
            raise CrossSite("the form is not one of this session; nothing was done. Open the page anew and try again")

    async def _send(self, exchange: Exchange, reply: Reply, *, is_secure: bool) -> None:
        headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in (*HEADERS, *reply.headers)]
        if is_secure:
            headers.append((HSTS[0].encode(), HSTS[1].encode()))
        headers.append((b"content-type", reply.media_type.encode()))
        body = reply.body
        if isinstance(body, bytes):
            headers.append((b"content-length", str(len(body)).encode()))
        await exchange.send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if isinstance(body, bytes):
            await exchange.send({"type": "http.response.body", "body": body, "more_body": False})
            return
        async with aclosing(closable(body)) as pieces:
            async for piece in pieces:
                await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})


async def closable(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces, as a generator that ends where its reader ends."""
    async for piece in pieces:
        yield piece
