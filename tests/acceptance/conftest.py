"""One real service for the session: `batchseal serve` with its own Postgres and sandbox, reached over sockets only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.invoices import write_invoices
from harness.service import RunningService
from harness.stored import StoredPayload, stored_payloads

from batchseal.client.http import Client
from batchseal.settings.client_services import ClientServices


@dataclass(frozen=True)
class Running:
    service: RunningService
    client_id: str
    secret: str

    @property
    def base(self) -> str:
        return "/signstash/einvoice-integration-client-ws/api/v0"

    def client(self) -> Client:
        return Client(self.service.url, self.client_id, self.secret)

    def stored_payloads(self) -> list[StoredPayload]:
        return stored_payloads(self.service.folder / "temp")


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with RunningService("--sandbox-credential=p256") as service:
        services = ClientServices.load(service.services_file)
        entry = next(iter(services))
        yield Running(service, entry.id, entry.secret)


@pytest.fixture(scope="session")
def invoices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both xref forms, predictors and all; small, so that validators are quick."""
    return list(write_invoices(tmp_path_factory.mktemp("invoices"), 24, size_bytes=40_000))
