"""Logins as tests make them: who may log in, from which address, and how the authenticator answers."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchseal.api.attempts import Attempts
from batchseal.api.authentication import Authenticator
from batchseal.api.tokens import Tokens
from batchseal.errors import ApiError
from batchseal.settings.client_services import ClientServices

HERE, ELSEWHERE = "10.0.0.1", "10.0.0.2"


def written_services(folder: Path, clients: Mapping[str, Any]) -> Path:
    """The file with these client services."""
    path = folder / "client-services-config.json"
    path.write_text(json.dumps(clients))
    path.chmod(0o600)
    return path


def authenticator_of(services: Path, attempts: Attempts, **more: Any) -> Authenticator:
    """One with a key of its tokens that is the same for all. `more` is `probe`, and what else an authenticator takes."""
    return Authenticator(ClientServices.load(services), Tokens(b"k" * 32), attempts=attempts, **more)


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


async def answer(authenticator: Authenticator, header: str, address: str = HERE) -> int:
    """The status that a call with this header gets."""
    try:
        await authenticator.caller(header, address)
    except ApiError as error:
        return error.status
    return 200
