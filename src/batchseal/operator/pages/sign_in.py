"""Signing in and out, and the language and colours of the pages."""

from urllib.parse import urlsplit

from batchseal.errors import NoRoom, TooManyRequests
from batchseal.operator.languages import COOKIE, LANGUAGES
from batchseal.operator.pages.parts import Parts
from batchseal.operator.rendering import THEME_COOKIE, THEMES
from batchseal.operator.request import Reply, Request, own_address, redirect, with_query
from batchseal.operator.routing import Routes
from batchseal.operator.security import cookie_attributes
from batchseal.operator.signing_in.accounts import AccountLogin
from batchseal.operator.signing_in.oidc import OpenIdLogin
from batchseal.settings.operator_page import trial_password_path

WRONG = "The name, the password or the code is wrong."
A_YEAR = "Max-Age=31536000"


class SignInPages:
    """`login` compares what is typed; `openid` is there where operators can sign in with a provider too."""

    def __init__(self, parts: Parts, login: AccountLogin, openid: OpenIdLogin | None) -> None:
        self._parts = parts
        self._login = login
        self._openid = openid

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/login", None, self.show)
        # Another tab may have signed in meanwhile, so this form belongs to no session.
        routes.add("POST", "/login", None, self.sign_in, has_token=False)
        routes.add("GET", "/kept", None, self.kept)
        routes.add("POST", "/logout", None, self.sign_out)
        routes.add("POST", "/choices", None, self.choose)
        if self._openid is not None:
            routes.add("GET", "/oidc", None, self.to_provider)
            routes.add("GET", "/oidc/callback", None, self.from_provider)

    async def show(self, request: Request) -> Reply:
        if request.session is not None:
            return redirect(own_address(request.asked("next")))
        return await self._form(request, own_address(request.asked("next")))

    async def _form(
        self, request: Request, next_address: str, *, name: str = "", problem: str = "", status: int = 200
    ) -> Reply:
        around, settings = self._parts.surroundings, self._parts.settings
        is_trial = settings.sandbox_signs and not await self._parts.accounts.any()
        return self._parts.renderer.page(
            request,
            "login.html",
            status=status,
            next=next_address,
            name=name,
            problem=problem,
            may_sign_in=around.may_sign_in(request),
            is_insecure=not request.is_secure and around.is_insecure,
            oidc=urlsplit(settings.operator_oidc_issuer).hostname if self._openid else "",
            trial_file=str(trial_password_path(settings)) if is_trial else "",
        )

    async def sign_in(self, request: Request) -> Reply:
        next_address, name = own_address(await request.field("next")), (await request.field("name")).strip()
        if not self._parts.surroundings.may_sign_in(request):
            return await self._form(request, next_address, status=403)
        password, code = await request.field("password"), await request.field("code")
        try:
            found = await self._login.sign_in(name, password, code, request.peer)
        except (TooManyRequests, NoRoom) as problem:
            minutes = max(1, round((problem.retry_after_seconds or 60) / 60))
            text = self._parts.renderer.texts(request)
            locked = text("Too many attempts from this address. Try again in {minutes} minutes.", minutes=minutes)
            busy = text("Too many people sign in at this moment. Try again.")
            shown = locked if isinstance(problem, TooManyRequests) else busy
            reply = await self._form(request, next_address, name=name, problem=shown, status=problem.status)
            reply.headers.append(("retry-after", str(problem.retry_after_seconds or 5)))
            return reply
        if found is None:
            return await self._form(request, next_address, name=name, problem=WRONG, status=403)
        reply = redirect(with_query("/kept", {"next": next_address}))
        await self._parts.sessions.begin(request, reply, name, *found)
        return reply

    async def kept(self, request: Request) -> Reply:
        """The page behind a login: it goes on if the browser has kept the cookie, and says so if not, in place of a loop."""
        return self._parts.renderer.page(request, "kept.html", next=own_address(request.asked("next")))

    async def sign_out(self, request: Request) -> Reply:
        if request.session is not None:
            await self._parts.sessions.end(request)
            await self._parts.sessions.trail.signed_out(request.session.actor, request.peer)
        return self._parts.sessions.forget_cookie(request, redirect("/login"))

    async def choose(self, request: Request) -> Reply:
        """Keeps the language and the colours in cookies of this browser."""
        reply = redirect(own_address(await request.field("next")))
        language, theme = await request.field("language"), await request.field("theme")
        attributes = f"{cookie_attributes(request, 'SameSite=Lax')}; {A_YEAR}"
        if language in LANGUAGES:
            reply.with_cookie(COOKIE, language, attributes)
        if theme in THEMES:
            reply.with_cookie(THEME_COOKIE, theme, attributes)
        return reply

    async def to_provider(self, request: Request) -> Reply:
        """Sends the browser to the provider. The state of the login is in a cookie that comes back with the provider's answer."""
        assert self._openid is not None
        if not self._parts.surroundings.may_sign_in(request):
            return await self._form(request, "/", status=403)
        address, state = await self._openid.begin(own_address(request.asked("next")))
        reply = Reply(status=303, headers=[("location", address)])
        return reply.with_cookie(
            self._openid.cookies.login(request), state, f"{cookie_attributes(request, 'SameSite=Lax')}; Max-Age=600"
        )

    async def from_provider(self, request: Request) -> Reply:
        """Takes the provider's answer. The next page is loaded from here, since a strict cookie does not go along with a redirect
        that another site began.
        """
        assert self._openid is not None
        token, role, next_address = await self._openid.finish(request)
        cookies, sessions = Reply(), self._parts.sessions
        request.session = await sessions.begin(request, cookies, token.name, role, "oidc", token.identity)
        page = self._parts.renderer.page(request, "kept.html", next=next_address)
        page.headers += cookies.headers
        return page.with_cookie(
            self._openid.cookies.login(request), "", f"{cookie_attributes(request, 'SameSite=Lax')}; Max-Age=0"
        )
