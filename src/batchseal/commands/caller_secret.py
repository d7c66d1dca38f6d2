"""Whose credentials the commands of the client use: `batchseal sign` and `batchseal compare`."""

import json
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.settings.load import client_secret


def credentials(client_id: str, secret_file: Path | None, services_file: Path) -> tuple[str, str]:
    """Client id and secret: from `secret_file`, else from the environment, else from `services_file`.

    Without `client_id`, the first one in `services_file` is taken. Raises ConfigurationError.
    """
    secret = read_text(secret_file, "--secret-file").strip() if secret_file else client_secret()
    if secret:
        if not client_id:
            raise ConfigurationError("--client-id is missing; it must say whose secret is given")
        return client_id, secret
    try:
        services = json.loads(read_text(services_file, "--services-file"))
        found = client_id or next(iter(services))
        return found, str(services[found]["secret"])
    except (ValueError, LookupError, TypeError, StopIteration):
        who = f" of {client_id}" if client_id else ""
        raise ConfigurationError(f"--services-file: {services_file} holds no secret{who}") from None


def read_text(path: Path, flag: str) -> str:
    """The text of the file that `flag` names. Raises ConfigurationError."""
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"{flag}: {problem}") from None
