"""Whether the API answers at the address of the metrics, as --metrics-on-api says."""

from pathlib import Path
from typing import Any

import pytest

from batchseal.api.application import create_application
from batchseal.settings.load import Settings


class Service:
    """As much of the service as the address of the metrics needs."""

    async def numbers(self) -> dict[str, float]:
        return {"batchseal_upstream_up": 1.0}


async def status_of(settings: Settings, path: str) -> int:
    """The status that the application answers with."""
    service: Any = Service()
    guard = await create_application(service, service, settings)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {
        "http_version": "1.1",
        "headers": [(b"host", b"here")],
        "client": ("127.0.0.1", "4711"),
        "server": ("127.0.0.1", 80),
    }
    await guard(scope, receive, send)
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize(("on_api", "status"), [(True, 200), (False, 404)])
async def test_the_metrics_are_there_unless_a_setting_says_otherwise(on_api: bool, status: int, tmp_path: Path) -> None:
    settings = Settings(metrics_on_api=on_api, management_port=9090, temp_folder=tmp_path, workers=1)
    assert await status_of(settings, "/metrics") == status
    assert await status_of(settings, "/health/live") == 200
