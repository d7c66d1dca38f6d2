"""The list of addresses: each with the right that it asks for. A page is read with GET, and an action is a form with POST."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right

Handler: TypeAlias = Callable[[Request], Awaitable[Reply]]
Method = Literal["GET", "POST"]


@dataclass(frozen=True, slots=True)
class Route:
    """An address. `right` is None for what everybody may ask for, signed in or not.

    `has_token`: its form has the token of the session.
    """

    method: Method
    pattern: re.Pattern[str]
    right: Right | None
    handler: Handler
    has_token: bool = True


class Routes:
    """All routes. Each pattern is a path in which `{name}` stands for one element, and `{name:int}` for a number."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def add(self, method: Method, path: str, right: Right | None, handler: Handler, *, has_token: bool = True) -> None:
        self.all.append(Route(method, compiled(path), right, handler, has_token))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | list[str]:
        """The route of a path with the values of its names, or the methods that the path takes instead."""
        others: list[str] = []
        for route in self.all:
            if match := route.pattern.fullmatch(path):
                if route.method == method:
                    return route, match.groupdict()
                others.append(route.method)
        return others


def compiled(path: str) -> re.Pattern[str]:
    """The pattern of a path. Numbers have 18 digits at most, so that each is a bigint of PostgreSQL."""
    text = re.sub(r"\\{(\w+):int\\}", r"(?P<\1>[0-9]{1,18})", re.escape(path))
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", text))
