"""Events that matter for security, so that whoever watches the log finds all of them by two fields.

Each line has `category` and `action`, beside its sentence: who logged in or was refused, which token was issued, what of the
configuration has changed (never its values), what was purged, which lease was lost, which certificate was revoked, what an
operator did. They are always logged, but for those below the level of the log.
"""

from enum import StrEnum
from typing import Any

import structlog

log = structlog.get_logger("security")


class Category(StrEnum):
    """As the Elastic Common Schema names them (event.category)."""

    AUTHENTICATION = "authentication"
    CONFIGURATION = "configuration"
    DATABASE = "database"
    PROCESS = "process"
    IAM = "iam"


def security_event(said: str, category: Category, action: str, *, success: bool = True, **fields: Any) -> None:
    """Logs an event, as a warning if it was no success. `fields` never hold a secret, a token or a value of a setting."""
    write = log.info if success else log.warning
    write(said, category=category.value, action=action, outcome="success" if success else "failure", **fields)
