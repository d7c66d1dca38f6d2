"""What the pages of the documentation say can be run, runs: in one folder, with the service that the first of them starts."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.held_folder import held_folder
from harness.invoices import write_invoices
from tests.support.documentation import Shell, blocks, pages

FIRST = "getting-started.md"
OTHERS = [page for page in pages() if page != FIRST and any(block.kind == "run" for block in blocks(page))]


@dataclass(frozen=True, slots=True)
class Trial:
    """The folder in which the first page has ended, and the port of the service that it has started."""

    folder: Path
    port: int
    scripts: Path


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    scripts = tmp_path_factory.mktemp("scripts")
    with held_folder("docs") as folder, ExitStack() as ends:
        folder.chmod(0o711)  # passed by the account of the embedded Postgres
        (folder / "trial" / "invoices").mkdir(parents=True)
        list(write_invoices(folder / "trial" / "invoices", 2))
        with Shell(folder, 0, scripts) as shell:
            ends.callback(shell.stop_services)
            shell.run_all(blocks(FIRST))
            trial = Trial(shell.folder, shell.port, scripts)
        yield trial


def test_getting_started_runs(trial: Trial) -> None:
    assert (trial.folder / "invoice-signed.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("page", OTHERS)
def test_the_commands_of_a_page_run(page: str, trial: Trial) -> None:
    with ExitStack() as ends, Shell(trial.folder, trial.port, trial.scripts) as shell:
        ends.callback(shell.stop_services)
        shell.run_all(blocks(page))


def test_the_pages_with_commands_are_those_that_should_have_some() -> None:
    assert {"interface.md", "hot-folders.md", "webhooks.md", "backup.md", "operating.md", "switching.md"} <= set(OTHERS)
