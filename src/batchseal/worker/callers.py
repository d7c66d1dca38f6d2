"""How a worker knows its callers: the keys of its tokens, and who counts failed logins.

Where the key of the tokens is:

- in the file that `--token-key-file` names, which all instances have;
- else, with an embedded database, in the file `token.key` of the temp folder: such an instance is alone;
- else in the database, where only the owner's role can read it (`store/token_keys.py`). The signer has read it, and the
  supervisor has put it among the settings. A `token.key` that is left from before still verifies, so that its tokens last until
  they run out.

Instances with a database of their own count failed logins in the file of `api/attempts.py` alone. The others also count them
together (`api/login_failures.py`).
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

from batchseal.api.attempts import MAX_FAILURES, Attempts
from batchseal.api.authentication import Authenticator
from batchseal.api.failures import WINDOW_SECONDS
from batchseal.api.tokens import Tokens
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.settings.token_keys import TokenKeyFile, read_token_keys
from batchseal.store.database import Database
from batchseal.store.login_failures import LoginFailures
from batchseal.system.key_file import load_key


async def token_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys of the tokens, that which signs first. Raises ConfigurationError."""
    if settings.token_key_file:
        return read_token_keys(Path(settings.token_key_file))
    shared = tuple(base64.b64decode(text) for text in settings.token_keys.split())
    if shared and not settings.token_key_path.exists():
        return shared
    # A key that is made now is fsynced, which takes long on a busy disk.
    return (*shared, await asyncio.to_thread(load_key, settings.token_key_path))


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
