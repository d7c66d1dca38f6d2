"""Settings: one model (`options`), fed by flags, environment and a file, in that order of precedence.

Each has a short modern name (`--temp-folder`), where the original product has one its dotted name too, and an environment
variable for each of both. This module is the only one that reads the environment.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from batchseal.errors import ConfigurationError
from batchseal.settings.options import OPTIONS, VENDOR, Settings

__all__ = ["OPTIONS", "VENDOR", "Settings"]


def modern_flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def environment_names(name: str) -> list[str]:
    """Variables that set a setting: ours, then the two spellings that the original's runtime reads."""
    names = ["BATCHSEAL_" + name.upper()]
    if dotted := OPTIONS[name].metadata["dotted"]:
        plain = dotted.upper().replace(".", "_")
        names += [plain.replace("-", ""), plain.replace("-", "_")]
    if variable := OPTIONS[name].metadata["variable"]:
        names += [variable, variable.lower()]
    return names


def parse_value(name: str, text: str) -> Any:
    """Text of a flag or variable to the setting's type. Raises ConfigurationError with the setting's name."""
    kind, choices = OPTIONS[name].type, OPTIONS[name].metadata["choices"]
    if choices and text not in choices:
        raise ConfigurationError(f"{modern_flag(name)}: {text!r} is not one of {', '.join(choices)}")
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ConfigurationError(f"{modern_flag(name)}: {text!r} is neither true nor false")
        return text.lower() in ("true", "1", "yes")
    if kind is int:
        try:
            return int(text.replace("_", ""))
        except ValueError:
            raise ConfigurationError(f"{modern_flag(name)}: {text!r} is not a whole number") from None
    return Path(text) if kind is Path else text


def load_settings(flags: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `flags` (setting name to text), then the environment, then the file. Empty text is the same as none."""
    variables = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for name in OPTIONS:
        texts = [flags.get(name, ""), *(variables.get(v, "") for v in environment_names(name))]
        if text := next((t for t in texts if t), ""):
            values[name] = parse_value(name, text)
    if path := values.get("config"):
        values = {**read_settings_file(Path(path)), **values}
    settings = Settings(**values, crash_at=variables.get("BATCHSEAL_CRASH_AT", ""))
    check_settings(settings)
    return settings


def dump_settings(settings: Settings) -> bytes:
    """Settings as a child process reads them from its standard input; no flag or variable shows them to others."""
    return json.dumps({f.name: getattr(settings, f.name) for f in fields(Settings)}, default=str).encode()


def read_dumped_settings(data: bytes) -> Settings:
    values: dict[str, Any] = json.loads(data)
    values |= {f.name: Path(values[f.name]) for f in fields(Settings) if f.type is Path}
    return Settings(**values)


def read_settings_file(path: Path) -> dict[str, Any]:
    import tomllib  # here, as few name a file, and the health probe should stay small

    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"{path}: {problem}") from None
    names = {key.replace("-", "_"): key for key in table}
    if unknown := sorted(key for name, key in names.items() if name not in OPTIONS):
        raise ConfigurationError(f"{path}: unknown settings {', '.join(unknown)}")
    return {name: parse_value(name, str(table[key])) for name, key in names.items() if str(table[key]) != ""}


def check_settings(settings: Settings) -> None:
    """Raises ConfigurationError for what can be seen to be wrong without looking outside."""
    if not 0 <= settings.port <= 65535:
        raise ConfigurationError(f"--port: {settings.port} is not a port")
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise ConfigurationError("--tls-certificate and --tls-key go together")
    if settings.tls_client_ca and not settings.tls_certificate:
        raise ConfigurationError("--tls-client-ca needs --tls-certificate and --tls-key")
    for path in filter(None, (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)):
        if not os.access(path, os.R_OK):
            raise ConfigurationError(f"{path} cannot be read")
    if settings.workers < 0:
        raise ConfigurationError(f"--workers: {settings.workers} is less than 0")
    try:
        _ = settings.advertised
    except ValueError:
        raise ConfigurationError(f"--server.host.port: {settings.advertised_address!r} is not HOST:PORT") from None
    if settings.service_domain and not settings.service_domain.startswith(("http://", "https://")):
        raise ConfigurationError("--service-domain: must begin with https:// (or http:// on loopback)")


def client_secret(environment: Mapping[str, str] | None = None) -> str:
    """The secret of the client side's commands, where no file gives it."""
    return (os.environ if environment is None else environment).get("BATCHSEAL_SECRET", "")


def set_for_libraries(name: str, value: str) -> None:
    """For what a library takes from the environment alone."""
    os.environ[name] = value
