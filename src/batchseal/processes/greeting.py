"""What `serve` prints on a terminal once it is ready: what runs, where it is, and what a person does next."""

import sys
from collections.abc import Iterator
from pathlib import Path

from batchseal import __version__
from batchseal.settings.load import Settings
from batchseal.settings.operator_page import trial_password_path
from batchseal.system.waits import say

# The first page of the documentation. An installation from the sources has it only after `make docs`.
FIRST_PAGE = Path(__file__).parents[1] / "api" / "pages" / "index.html"


def greet(
    settings: Settings,
    swagger: str,
    documentation: str,
    *,
    is_terminal: bool | None = None,
    first_page: Path = FIRST_PAGE,
) -> None:
    """Says that the service is ready: in one line, and in a few more where a person reads them.

    `swagger` is the path of the page that describes the API, `documentation` that of the documentation, which is named where its
    file `first_page` is installed.
    """
    say(f"ready at {address_of(settings)}")
    if settings.has_operator_page:
        say(f"operator's page at {page_of(settings)}")
    if sys.stderr.isatty() if is_terminal is None else is_terminal:
        for line in lines(settings, swagger, documentation if first_page.is_file() else ""):
            print(line, file=sys.stderr, flush=True)


def address_of(settings: Settings) -> str:
    return f"{'https' if settings.tls_certificate else 'http'}://{settings.host}:{settings.port}"


def page_of(settings: Settings) -> str:
    """The address of the operator's page."""
    return f"{'https' if settings.tls_certificate else 'http'}://{settings.operator_host}:{settings.operator_port}"


def lines(settings: Settings, swagger: str, documentation: str) -> Iterator[str]:
    """One fact a line, with its name in front. `documentation` is empty where there is none."""
    yield f"\nBatchseal {__version__}\n"
    yield fact("API", address_of(settings))
    yield fact("Swagger", address_of(settings) + swagger)
    if documentation:
        yield fact("Documentation", address_of(settings) + documentation)
    if settings.has_operator_page:
        yield fact("Operator's page", page_of(settings))
        if settings.uses_sandbox:
            yield fact("Its password", f"in {trial_password_path(settings)}")
    if settings.management_port:
        yield fact("Management", f"http://{settings.management_host}:{settings.management_port}/metrics")
    if settings.uses_sandbox:
        yield fact("Sandbox", "it signs, for trials only: nobody trusts its signatures")
        yield fact("Secret", f"in {settings.services_file}")
        yield fact("Try it", "batchseal sign FOLDER, with PDF files in it")
    else:
        yield fact("Signing service", settings.upstream_address)
    yield fact("Data", str(settings.temp_folder))
    yield "\nCtrl-C stops it.\n"


def fact(name: str, text: str) -> str:
    return f"  {name:<16} {text}"
