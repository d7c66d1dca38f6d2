"""The roles of operators, and what each of them may do."""

from enum import Enum

from batchseal.settings.operator_options import ROLES


class Right(Enum):
    """What a page or an action asks for."""

    VIEW = "view"  # see the pages that are not named below
    EXPORT = "export"  # take data away: CSV files and support bundles
    ACT = "act"  # retry, cancel, purge and resume operations, send webhook events again
    AUDIT = "audit"  # see and verify the audit trail
    SETTINGS = "settings"  # see the settings and the accounts


RIGHTS = {
    "viewer": frozenset({Right.VIEW}),
    "operator": frozenset({Right.VIEW, Right.EXPORT, Right.ACT}),
    "auditor": frozenset({Right.VIEW, Right.EXPORT, Right.AUDIT, Right.SETTINGS}),
    "admin": frozenset(Right),
}

assert tuple(RIGHTS) == ROLES


def highest(roles: set[str]) -> str | None:
    """Of several roles the one that may do most; None without any."""
    return max(roles, key=ROLES.index, default=None)
