"""What all pages use."""

from dataclasses import dataclass

from batchseal.operator.interface import Worker
from batchseal.operator.rendering import Renderer
from batchseal.operator.request import Request
from batchseal.operator.security import Surroundings
from batchseal.operator.signing_in.sessions import Sessions
from batchseal.settings.load import Settings
from batchseal.store.operator import OperatorStore, Who
from batchseal.store.operator_accounts import OperatorAccounts


@dataclass(frozen=True, slots=True)
class Parts:
    """`worker` is the one that serves the page: it knows how the service is, and what of its budgets is in use."""

    settings: Settings
    store: OperatorStore
    accounts: OperatorAccounts
    sessions: Sessions
    surroundings: Surroundings
    renderer: Renderer
    worker: Worker


def who(request: Request) -> Who:
    """Who acts in this request, for the audit trail."""
    assert request.session is not None
    return Who(request.session.actor, request.peer or "unknown")
