"""Joins the parts of the operator's page. Loaded with the first request of a browser."""

from contextlib import AsyncExitStack

from batchseal.api.guard import INSTANCE_HEADER, SANDBOX_HEADER
from batchseal.operator.application import OperatorApplication
from batchseal.operator.interface import Opened, Worker
from batchseal.operator.pages.audit import AuditPages
from batchseal.operator.pages.documents import DocumentPages
from batchseal.operator.pages.failures import FailurePages
from batchseal.operator.pages.figures import FigurePages
from batchseal.operator.pages.operation import OperationPages
from batchseal.operator.pages.operations import OperationsPages
from batchseal.operator.pages.overview import OverviewPages
from batchseal.operator.pages.parts import Parts
from batchseal.operator.pages.plots import PlotPages
from batchseal.operator.pages.renewal import RenewalPages
from batchseal.operator.pages.settings import SettingsPages
from batchseal.operator.pages.sign_in import SignInPages
from batchseal.operator.pages.webhooks import WebhookPages
from batchseal.operator.rendering import Renderer
from batchseal.operator.routing import Routes
from batchseal.operator.security import CookieNames, Surroundings
from batchseal.operator.signing_in.accounts import AccountLogin
from batchseal.operator.signing_in.attempts import OperatorAttempts
from batchseal.operator.signing_in.headers import HeaderLogin
from batchseal.operator.signing_in.oidc import OpenIdLogin
from batchseal.operator.signing_in.sessions import Sessions
from batchseal.operator.signing_in.trail import SignInTrail
from batchseal.settings.load import Settings
from batchseal.settings.token_keys import token_keys
from batchseal.store.database import Database
from batchseal.store.operator import OperatorStore
from batchseal.store.operator_accounts import OperatorAccounts, connect_accounts


async def open_pages(settings: Settings, worker: Worker) -> Opened:
    """The application with all its pages, and what closes its connections. Raises DatabaseUnavailable, ConfigurationError.

    Whatever the opening fails with, it leaves no connection behind: the next request opens the pages anew.
    """
    async with AsyncExitStack() as opened:
        database = await connect_accounts(settings)
        opened.push_async_callback(database.close)
        store = await OperatorStore.connect(settings)
        opened.push_async_callback(store.close)
        attempts = OperatorAttempts(database, (await token_keys(settings))[0])
        cookies = CookieNames(await OperatorAccounts(database).database_id())
        application = application_of(settings, worker, database, store, attempts, cookies)
        return application, opened.pop_all().aclose


def application_of(
    settings: Settings,
    worker: Worker,
    database: Database,
    store: OperatorStore,
    attempts: OperatorAttempts,
    cookies: CookieNames,
) -> OperatorApplication:
    """All pages, which read from `store`, and who signs in, whom `database` knows. Raises ConfigurationError."""
    accounts = OperatorAccounts(database)
    trail = SignInTrail(store)
    sessions = Sessions(accounts, settings, trail, cookies)
    surroundings = Surroundings(settings)
    renderer = Renderer(sandbox_signs=settings.sandbox_signs)
    parts = Parts(settings, store, accounts, sessions, surroundings, renderer, worker)
    login = AccountLogin(accounts, attempts, trail, settings, worker.standing_memory().hold)
    openid = OpenIdLogin(settings, trail, attempts, cookies) if settings.operator_oidc_issuer else None
    routes = Routes()
    SignInPages(parts, login, openid).add_to(routes)
    for pages in (
        OverviewPages,
        OperationsPages,
        OperationPages,
        DocumentPages,
        FailurePages,
        FigurePages,
        RenewalPages,
        WebhookPages,
        PlotPages,
        AuditPages,
        SettingsPages,
    ):
        pages(parts).add_to(routes)
    more = [(INSTANCE_HEADER, settings.instance.encode("ascii"))] if settings.instance else []
    more += [SANDBOX_HEADER] if settings.sandbox_signs else []
    proxy_login = HeaderLogin(settings) if settings.operator_user_header else None
    return OperatorApplication(routes, sessions, surroundings, renderer, proxy_login, more)
