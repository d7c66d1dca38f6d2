"""Signing in at a proxy that stands before the service, such as oauth2-proxy: it names the operator and the groups in headers.

Only a connection of `--operator-proxies` is believed. Such a proxy must remove these headers from what its own callers send.
"""

from batchseal.operator.request import Request
from batchseal.operator.roles import highest
from batchseal.settings.load import Settings
from batchseal.settings.operator_page import group_roles
from batchseal.system.addresses import TrustedProxies

MOST_CHARACTERS = 100


class HeaderLogin:
    """What the headers of a request say of its operator."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = TrustedProxies(settings.operator_proxies)
        self._user, self._groups = settings.operator_user_header, settings.operator_groups_header
        self._roles = group_roles(settings.operator_roles)

    def named(self, request: Request) -> tuple[str, str | None] | None:
        """The operator's name and role. None where no trusted proxy names somebody; no role where none of the groups has one."""
        name = request.header(self._user)
        if not name or request.exchange.peer not in self._proxies:
            return None
        if len(name) > MOST_CHARACTERS or not name.isprintable():
            return None
        groups = {group.strip() for group in request.header(self._groups).split(",")}
        return name, highest({self._roles[group] for group in groups if group in self._roles})
