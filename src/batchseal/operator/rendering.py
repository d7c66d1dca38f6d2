"""Turns what a page shows into HTML, by Jinja2 templates, in the language and theme of the browser.

Everything that a template shows is escaped, unless it is a template's own text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from batchseal.errors import ApiError
from batchseal.operator import formatting
from batchseal.operator.languages import LANGUAGES, Texts, language_of
from batchseal.operator.request import Reply, Request, with_query
from batchseal.operator.roles import Right
from batchseal.operator.static_files import StaticFiles

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "batchseal-theme"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the menu."""

    address: str
    title: str
    right: Right = Right.VIEW


MENU = (
    Entry("/", "Overview"),
    Entry("/operations", "Operations"),
    Entry("/documents", "Documents"),
    Entry("/failures", "Failures"),
    Entry("/credentials", "Credentials"),
    Entry("/timestamps", "Time stamps"),
    Entry("/services", "Client services"),
    Entry("/webhooks", "Webhooks"),
    Entry("/consumption", "Consumption"),
    Entry("/storage", "Storage"),
    Entry("/plots", "Plots"),
    Entry("/audit", "Audit", Right.AUDIT),
    Entry("/settings", "Settings", Right.SETTINGS),
)


class Renderer:
    """The templates of one worker. They are compiled when they are used first.

    `sandbox_signs` puts a banner on each page: nobody may take its signatures for real ones.
    """

    def __init__(self, *, sandbox_signs: bool) -> None:
        self._environment = Environment(
            loader=PackageLoader("batchseal.operator", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= formatting.FILTERS
        self._environment.globals |= {
            "static": StaticFiles().address,
            "menu": MENU,
            "Right": Right,
            "link": link,
            "bar": formatting.bar,
        }
        self._sandbox_signs = sandbox_signs
        self._texts: dict[str, Texts] = {}

    def texts(self, request: Request | None) -> Texts:
        """The texts in the language that the browser asks for."""
        language = language_of(request)
        if language not in self._texts:
            self._texts[language] = Texts(language)
        return self._texts[language]

    def html(self, request: Request | None, template: str, values: Mapping[str, Any]) -> bytes:
        """A template, filled in."""
        texts = self.texts(request)
        theme = request.cookie(THEME_COOKIE) if request else ""
        around = {
            "_": texts,
            "language": texts.language,
            "languages": LANGUAGES,
            "theme": theme if theme in THEMES else THEMES[0],
            "themes": THEMES,
            "request": request,
            "session": request.session if request else None,
            "form_token": request.session.form_token if request and request.session else "",
            "sandbox_signs": self._sandbox_signs,
            "path": request.path if request else "",
            "own_address": full_path(request) if request else "/",
        }
        return self._environment.get_template(template).render(around | dict(values)).encode("utf-8", "replace")

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Reply:
        """A page. It is whole for htmx too, which takes the part that it wants out of it."""
        return Reply(self.html(request, template, values), status=status)

    def problem(self, request: Request | None, error: ApiError) -> Reply:
        """The page that says what went wrong."""
        values = {"title": error.description(), "cause": error.cause, "status": error.status}
        return Reply(self.html(request, "problem.html", values), status=error.status)


def link(path: str, filter: Mapping[str, str], **more: Any) -> str:
    """The address of a list with the fields of its filter, and those of `more` in place of them. Empty ones are left out."""
    return with_query(path, {**filter, **{name: str(value) if value else "" for name, value in more.items()}})


def full_path(request: Request) -> str:
    """The address of the page itself, to come back to it after a change."""
    if request.method != "GET":
        return "/"
    query = request.exchange.scope["query_string"].decode("ascii", "replace")
    return f"{request.path}?{query}" if query else request.path
