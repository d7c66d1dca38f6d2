"""Who is signed in: a random token in a cookie, whose SHA-256 names a row of the database."""

import secrets

from batchseal.operator.request import Reply, Request, SignedIn, actor_of
from batchseal.operator.security import CookieNames, cookie_attributes, digest_of_token, form_token
from batchseal.operator.signing_in.trail import SignInTrail
from batchseal.settings.load import Settings
from batchseal.store.operator_accounts import OperatorAccounts

TOKEN_BYTES = 32
# A refresh that nobody has clicked for says so. It does not keep a session alive.
BY_ITSELF = b"batchseal-by-itself"


class Sessions:
    """The sessions of one worker's requests. They live in the database, so that any worker takes any request."""

    def __init__(
        self, accounts: OperatorAccounts, settings: Settings, trail: SignInTrail, cookies: CookieNames
    ) -> None:
        self._accounts = accounts
        self._cookies = cookies
        self.trail = trail
        self._idle_minutes = settings.operator_idle_minutes
        self._hours = settings.operator_session_hours

    async def find(self, request: Request) -> SignedIn | None:
        """Who has sent this request, by its cookie. Raises DatabaseUnavailable."""
        token = request.cookie(self._cookies.session(request))
        if not token or len(token) > 100:
            return None
        is_use = BY_ITSELF not in request.headers
        found = await self._accounts.session(digest_of_token(token), self._idle_minutes, is_use=is_use)
        if found is None:
            return None
        return SignedIn(found.name, found.role, found.source, found.address, form_token(token), found.identity)

    async def begin(
        self, request: Request, reply: Reply, name: str, role: str, source: str, identity: str = ""
    ) -> SignedIn:
        """Begins a session with a new token, and ends the one that the browser has: nobody can prepare a session for another."""
        await self.end(request)
        await self.trail.signed_in(actor_of(name, identity), role, source, request.peer)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        digest = digest_of_token(token)
        await self._accounts.begin_session(digest, name, role, source, request.peer, self._hours, identity)
        reply.with_cookie(self._cookies.session(request), token, cookie_attributes(request))
        return SignedIn(name, role, source, request.peer, form_token(token), identity)

    async def end(self, request: Request) -> None:
        """Ends the session of the request's cookie, if there is one."""
        if token := request.cookie(self._cookies.session(request)):
            await self._accounts.end_session(digest_of_token(token))

    def forget_cookie(self, request: Request, reply: Reply) -> Reply:
        """The reply, with the message to the browser that its cookie is over."""
        return reply.with_cookie(self._cookies.session(request), "", f"{cookie_attributes(request)}; Max-Age=0")
