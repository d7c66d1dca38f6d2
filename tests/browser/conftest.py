"""A real browser (Debian's Chromium), a service with the operator's page, and what is on it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.webhook_receiver import FAIL, SECRET, WebhookReceiver
from playwright.sync_api import Browser, sync_playwright
from tests.support.operator_page import OperatorService, operator_service
from tests.support.operator_rows import add_webhook, fill, give_up

HERE = Path(__file__).parent
OPERATIONS = 5  # of so many operations that are filled in, the event was tried


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="all themes, widths and languages, not only some")
    parser.addoption("--screenshots", type=Path, help="folder for a picture of each page")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of the system: Playwright must never fetch one of its own."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert path, "chromium is needed (Debian: chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page_service() -> Iterator[OperatorService]:
    """A service with an account for each role, operations of every kind, and events that its receiver has not taken."""
    flags = ("--operator-totp=none", "--webhook-hosts=127.0.0.1", "--webhook-retries=3600")
    with WebhookReceiver(lambda number: FAIL) as receiver, operator_service(*flags) as service:
        add_webhook(service, receiver.url, SECRET)
        fill(service)
        give_up(service, OPERATIONS)
        yield service


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which `make test-browser` has fetched."""
    return (HERE / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")
