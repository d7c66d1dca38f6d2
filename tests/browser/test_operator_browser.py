"""The operator's page in a real browser: with and without JavaScript, in both languages, in every theme and width."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from harness.operator_visitor import PASSWORD
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from tests.support.operator_page import OperatorService
from tests.support.operator_rows import HOSTILE

PAGES = {
    "overview": "/",
    "operations": "/operations",
    "held": "/operations?held=yes",
    "operation": "/operations?failures=yes",  # and the first one of these
    "documents": "/documents?name=invoice",
    "failures": "/failures",
    "credentials": "/credentials",
    "timestamps": "/timestamps",
    "services": "/services",
    "webhooks": "/webhooks",
    "consumption": "/consumption",
    "storage": "/storage",
    "plots": "/plots",
    "audit": "/audit",
    "settings": "/settings",
}
# Of these a picture shows the whole page, and of the others the beginning.
WHOLE = ("overview", "held", "webhooks", "operation", "operations", "failures", "confirm", "login")
WIDTHS, THEMES = (1280, 400), ("light", "dark")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)


class Watch:
    """What a page did beside showing itself: errors in its console, requests to others, dialogs."""

    def __init__(self, page: Page, host: str) -> None:
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self._asked(request.url, host))

    def _dialog(self, dialog: Any) -> None:
        self.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str, host: str) -> None:
        if not url.startswith((f"http://{host}/", "data:")):
            self.elsewhere.append(url)


@contextmanager
def opened(
    browser: Browser,
    service: OperatorService,
    role: str = "admin",
    *,
    width: int = 1280,
    theme: str = "light",
    locale: str = "en-GB",
    javascript: bool = True,
) -> Iterator[tuple[Page, Watch]]:
    """A page of somebody with this role who has signed in."""
    host = f"127.0.0.1:{service.port}"
    context = browser.new_context(
        base_url=f"http://{host}",
        viewport={"width": width, "height": 900},
        color_scheme="dark" if theme == "dark" else "light",
        locale=locale,
        timezone_id="Asia/Kolkata",
        java_script_enabled=javascript,
        reduced_motion="reduce",
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    watch = Watch(page, host)
    page.goto("/")
    page.fill("#name", role)
    page.fill("#password", PASSWORD)
    page.click("main button")
    page.wait_for_url(f"http://{host}/")
    yield page, watch
    context.close()


def go(page: Page, name: str) -> None:
    page.goto(PAGES[name])
    if name == "operation":
        page.click("tbody th a")
        page.wait_for_selector("#documents")


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds wrong with a page."""
    page.evaluate(axe)
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def combinations(config: pytest.Config) -> list[tuple[int, str]]:
    themes = THEMES if config.getoption("--all") else THEMES[:1]
    return [(width, theme) for width in WIDTHS for theme in themes]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "width" in metafunc.fixturenames:
        metafunc.parametrize(("width", "theme"), combinations(metafunc.config))


def test_every_page_is_accessible_and_calls_nobody(
    width: int, theme: str, browser: Browser, page_service: OperatorService, axe: str, pytestconfig: pytest.Config
) -> None:
    folder: Path | None = pytestconfig.getoption("--screenshots")
    wrong: list[str] = []
    with opened(browser, page_service, width=width, theme=theme) as (page, watch):
        if folder is not None:
            wait_for_life(page)
        for name in PAGES:
            go(page, name)
            wrong += [f"{name}: {what}" for what in violations(page, axe)]
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{name} is {overflow} pixels too wide"
            if folder is not None and (theme, width) in (("light", 1280), ("dark", 1280), ("light", 400)):
                save(page, folder, name, width, theme)
    assert wrong == []
    assert (watch.errors, watch.elsewhere) == ([], [])


def wait_for_life(page: Page) -> None:
    """A machine that stood still is no picture of the product: waits until the instance has been seen again."""
    while "there" not in page.locator("#live section").last.inner_text():
        page.reload()


def save(page: Page, folder: Path, name: str, width: int, theme: str) -> None:
    """A picture of a page: of each one in light, of some in dark and narrow."""
    suffix = "" if (theme, width) == ("light", 1280) else f"-{theme}" if width == 1280 else "-400"
    if not suffix or name in ("overview", "operations", "operation"):
        folder.mkdir(parents=True, exist_ok=True)
        taken = Image.open(BytesIO(page.screenshot(full_page=name in WHOLE, scale="css")))
        # The pages have few colours: with 128 of them a picture takes a third, and nobody sees the difference.
        taken.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(folder / f"{name}{suffix}.png", optimize=True)


def test_the_login_page_and_the_questions_are_accessible(
    width: int, theme: str, browser: Browser, page_service: OperatorService, axe: str, pytestconfig: pytest.Config
) -> None:
    folder: Path | None = pytestconfig.getoption("--screenshots")
    with opened(browser, page_service, width=width, theme=theme) as (page, watch):
        go(page, "operation")
        page.click("text=Retry what failed")
        page.wait_for_selector("text=Also operations whose result was fetched")
        assert violations(page, axe) == []
        if folder is not None:
            save(page, folder, "confirm", width, theme)
        page.click("text=Sign out")
        page.wait_for_selector("#password")
        assert violations(page, axe) == []
        if folder is not None:
            save(page, folder, "login", width, theme)
    assert (watch.errors, watch.elsewhere) == ([], [])


@pytest.mark.parametrize("javascript", [True, False])
def test_pages_and_actions_work(javascript: bool, browser: Browser, page_service: OperatorService) -> None:
    """Filters, pages, selection, question, action and language, by clicks alone."""
    with opened(browser, page_service, "operator", javascript=javascript) as (page, watch):
        page.click("nav >> text=Operations")
        page.fill("#reference", "INV-2026-9001")
        page.click("text=Show")
        page.wait_for_url(re.compile("reference=INV-2026-9001"))
        expect(page.locator("tbody tr")).to_have_count(1)
        page.check("tbody input[type=checkbox]")
        page.click("text=Retry …")
        expect(page.locator("h1")).to_have_text("Retry what failed?")
        page.check("text=Also documents in which the fault itself lies")
        page.click("main button.primary")
        expect(page.locator("main")).to_contain_text("done, with")
        page.click("text=Back")
        expect(page.locator("tbody")).to_contain_text("INV-2026-9001")
        page.select_option("select[name=language]", "pt")
        page.click("text=Apply")
        expect(page.locator("h1")).to_have_text("Operações")
        with page.expect_download() as downloading:
            page.click("text=Todo o filtro em CSV")
        assert "INV-2026-9001" in Path(downloading.value.path()).read_text("utf-8")
        page.click("text=Terminar sessão")
        expect(page.locator("#password")).to_have_count(1)
    assert (watch.errors, watch.elsewhere) == ([], [])


@pytest.mark.parametrize("javascript", [True, False])
def test_what_is_held_is_resumed_and_an_event_is_sent_again(
    javascript: bool, browser: Browser, page_service: OperatorService
) -> None:
    with opened(browser, page_service, "operator", javascript=javascript) as (page, watch):
        page.click("text=Look at them, resume or cancel them")
        expect(page.locator("#list")).to_contain_text("cannot be known")
        page.wait_for_load_state()
        waiting = page.locator("tbody input[type=checkbox]").count()
        assert waiting >= 1
        page.check("tbody input[type=checkbox] >> nth=0")
        page.click("text=Resume …")
        expect(page.locator("h1")).to_have_text("Have these operations signed?")
        page.click("main button.primary")
        expect(page.locator("main")).to_contain_text("1 operations: done")
        page.click("text=Back")
        expect(page.locator("#list")).to_be_attached()
        page.wait_for_load_state()
        expect(page.locator("tbody input[type=checkbox]")).to_have_count(waiting - 1)
        page.click("nav >> text=Webhooks")
        page.select_option("#state", "given-up")
        page.click("text=Show")
        page.wait_for_url(re.compile("state=given-up"))
        page.click("tbody >> text=Send again >> nth=0")
        expect(page.locator("main")).to_contain_text("1 events are sent again")
        page.click("text=Send what was given up again …")
        page.click("text=Back, change nothing")
        expect(page.locator("h1")).to_have_text("Webhooks")
    assert (watch.errors, watch.elsewhere) == ([], [])


def test_every_page_speaks_portuguese(browser: Browser, page_service: OperatorService) -> None:
    with opened(browser, page_service, locale="pt-PT") as (page, watch):
        for name in PAGES:
            go(page, name)
            assert page.locator("html").get_attribute("lang") == "pt-PT"
            assert "Visão geral" in page.locator("nav").first.inner_text()
    assert (watch.errors, watch.elsewhere) == ([], [])


def test_what_javascript_adds(browser: Browser, page_service: OperatorService) -> None:
    with opened(browser, page_service) as (page, watch):
        with page.expect_response(lambda reply: reply.request.headers.get("hx-request") == "true"):
            pass  # the overview refreshes itself
        page.goto("/operations")
        page.check("thead input[type=checkbox]")
        boxes = page.locator("tbody input[type=checkbox]")
        assert boxes.count() > 3 and all(boxes.nth(number).is_checked() for number in range(boxes.count()))
        # India is five and a half hours before UTC in every month.
        time = page.locator("tbody time").first
        moment = datetime.fromisoformat(time.get_attribute("datetime") or "")
        assert time.locator(".utc").inner_text() == f"{moment:%Y-%m-%d %H:%M:%S} UTC"
        assert time.locator(".local").inner_text() == f"{moment + timedelta(hours=5.5):%Y-%m-%d %H:%M:%S}"
        page.goto("/plots")
        drawn = page.locator("canvas").count()
        assert drawn == page.locator("[data-plot]").count()
    assert (watch.errors, watch.elsewhere) == ([], [])


def test_a_filter_that_cannot_be_read_leaves_no_list_of_another_one(
    browser: Browser, page_service: OperatorService
) -> None:
    with opened(browser, page_service) as (page, _):
        page.goto("/operations")
        page.wait_for_selector("#list tbody tr")
        page.fill("#older", "soon")
        page.press("#older", "Enter")
        page.wait_for_selector("#list [role=alert]")
        assert "is no number of minutes" in page.inner_text("#list")
        assert page.locator("#list tbody tr").count() == 0


def test_hostile_names_do_nothing_on_any_page(browser: Browser, page_service: OperatorService) -> None:
    with opened(browser, page_service) as (page, watch):
        for path in (*PAGES.values(), "/documents?name=xss", "/operations?reference=" + "%3Cscript%3E"):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            assert page.title() != "xss" and "Batchseal" in page.title(), path
        page.goto("/operations?reference=%3Cscript%3E")
        page.click("tbody th a")
        page.wait_for_selector("#documents")
        shown = page.locator("#documents").inner_text()
        for name in HOSTILE:
            assert name.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "") in shown.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "")
        assert page.title() != "xss"
    assert (watch.errors, watch.elsewhere) == ([], [])
