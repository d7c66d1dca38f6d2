"""The settings as they hold, with secrets masked; the instances; and the accounts. Nothing can be changed here."""

from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from batchseal import __version__
from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.settings.load import OPTIONS, Settings, modern_flag

MASK = "••••••••"


class SettingsPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/settings", Right.SETTINGS, self.show)

    async def show(self, request: Request) -> Reply:
        return self._parts.renderer.page(
            request,
            "settings.html",
            groups=shown_settings(self._parts.settings),
            instances=await self._parts.store.instances(),
            accounts=await self._parts.accounts.all(),
            version=__version__,
        )


def shown_settings(settings: Settings) -> dict[str, list[tuple[str, str, bool]]]:
    """For each group its settings: the flag, the value as text, and whether it is another one than the default."""
    groups: dict[str, list[tuple[str, str, bool]]] = {}
    secret = {field.name for field in fields(settings) if not field.repr}
    for name, option in OPTIONS.items():
        value = getattr(settings, name)
        shown = masked(value) if name in secret and value else text_of(name, value)
        groups.setdefault(option.metadata["group"], []).append((modern_flag(name), shown, value != option.default))
    return groups


def masked(value: object) -> str:
    return MASK if value else ""


def text_of(name: str, value: object) -> str:
    """A setting as text. What may be a password in an address is masked."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return str(value)
    text = str(value)
    return " ".join(map(without_password, text.split(" "))) if "@" in text or "://" in text else text


def without_password(address: str) -> str:
    """An address without its password, nor a query, which may hold one too."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return MASK
    if not parts.scheme:
        return address if "@" not in address else MASK
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    netloc = f"{name}{colon}{MASK if colon else ''}{at}{host}"
    return urlunsplit(parts._replace(netloc=netloc, query=MASK if parts.query else "", fragment=""))
