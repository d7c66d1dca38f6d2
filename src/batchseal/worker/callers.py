"""How a worker knows its callers: the keys of its tokens, and who counts failed logins.

Instances with a database of their own count failed logins in the file of `api/attempts.py` alone. The others also count them
together (`api/login_failures.py`).
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from batchseal.api.attempts import MAX_FAILURES, Attempts
from batchseal.api.authentication import Authenticator
from batchseal.api.failures import WINDOW_SECONDS
from batchseal.api.tokens import Tokens
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.settings.token_keys import TokenKeyFile
from batchseal.store.database import Database
from batchseal.store.login_failures import LoginFailures


def open_authenticator(
    settings: Settings,
    services: ClientServices,
    keys: tuple[bytes, ...],
    database: Database,
    probe: Callable[[str], Awaitable[str | None]],
) -> tuple[Authenticator, Attempts]:
    """What authenticates the callers of a worker, and the counts of failed logins, which are to be closed."""
    attempts = Attempts(settings.temp_folder / "attempts")
    authenticator = Authenticator(
        services,
        Tokens(*keys),
        probe,
        attempts,
        counter=LoginFailures(database, most=MAX_FAILURES, seconds=WINDOW_SECONDS) if settings.is_shared else None,
        key_file=TokenKeyFile(Path(settings.token_key_file)) if settings.token_key_file else None,
    )
    return authenticator, attempts
