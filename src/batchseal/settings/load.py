"""Reads the settings: from flags, else from environment variables, else from a file.

Each setting has a short name (`--temp-folder`). If the original product has the setting, that dotted name works too. Each of the
two names also has environment variables. This is the only module that reads the environment.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from batchseal.errors import ConfigurationError
from batchseal.settings.declaration import VENDOR
from batchseal.settings.observe_options import check_observation
from batchseal.settings.operator_page import check_operator
from batchseal.settings.options import OPTIONS, SYSTEM_FOLDER, Settings

__all__ = ["OPTIONS", "VENDOR", "Settings"]


# The shares that are kept for client services which have little. More than half of the memory would leave too little to the rest.
MOST_PERCENT = {
    "share_memory": 50,
    "share_space": 100,
    "share_queue": 100,
    "share_rows": 100,
    "share_deliveries": 100,
    "share_signing": 100,
}
# The least value of these settings. A stop needs 9 seconds beside what requests under way get.
LEAST = {
    "max_deliveries": 1,
    "spare_threads": 0,
    "max_document_rows": 0,
    "min_reply_rate": 0,
    "drain_seconds": 0,
    "stop_seconds": 10,
    "webhook_timeout": 1,
    "webhook_days": 0,
    # What is kept for less than no time would be deleted as soon as it is there.
    "payload_hours_fetched": 0,
    "payload_days_unfetched": 0,
    "document_days": 0,
    "text_days": 0,
    "reference_days": 0,
    "audit_days": 0,
}


def modern_flag(name: str) -> str:
    """The flag for the short name of a setting."""
    return "--" + name.replace("_", "-")


def environment_names(name: str) -> list[str]:
    """The environment variables that set a setting: ours, then the two spellings that the original product accepts."""
    names = ["BATCHSEAL_" + name.upper()]
    if dotted := OPTIONS[name].metadata["dotted"]:
        plain = dotted.upper().replace(".", "_")
        names += [plain.replace("-", ""), plain.replace("-", "_")]
    if variable := OPTIONS[name].metadata["variable"]:
        names += [variable, variable.lower()]
    return names


def parse_value(name: str, text: str) -> Any:
    """Turns the text of a flag or variable into the type of the setting. Raises ConfigurationError with the flag's name."""
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
    if kind is float:
        try:
            return float(text)
        except ValueError:
            raise ConfigurationError(f"{modern_flag(name)}: {text!r} is not a number") from None
    return Path(text) if kind is Path else text


def load_settings(flags: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Settings:
    """The settings from `flags` (text by name of the setting), else from the environment, else from the file.

    An empty text counts as not set. Raises ConfigurationError.
    """
    variables = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for name in OPTIONS:
        texts = [flags.get(name, ""), *(variables.get(v, "") for v in environment_names(name))]
        if text := next((t for t in texts if t), ""):
            values[name] = parse_value(name, text)
    if path := values.get("config"):
        values = {**read_settings_file(Path(path)), **values}
    named = "temp_folder" in values
    values.setdefault("temp_folder", default_temp_folder(variables, os.geteuid()))
    settings = Settings(
        **values,
        crash_at=variables.get("BATCHSEAL_CRASH_AT", ""),
        temp_folder_is_default=not named,
        hot_folder_flush_at_cron="hot_folder_cron" in values and "hot_folder_flush" not in values,
    )
    check_settings(settings)
    return settings


def default_temp_folder(environment: Mapping[str, str], uid: int) -> Path:
    """The folder for what the service keeps, if nobody names one: a folder of this user alone.

    It is the state folder that systemd gives to a service (systemd.exec(5), StateDirectory=), else one in the user's own state
    folder (XDG Base Directory Specification). The home folder of a system account is often one that it cannot write to. Root has
    none of the latter unless the environment names it: a home folder in root's environment may be that of the user who has become
    root.
    """
    first = environment.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd separates several by colons
    if os.path.isabs(first):
        return Path(first)
    state, home = environment.get("XDG_STATE_HOME", ""), environment.get("HOME", "")
    if os.path.isabs(state):  # the specification says that a relative one is to be ignored
        return Path(state, "batchseal")
    if uid != 0 and os.path.isabs(home) and home != "/" and os.access(home, os.W_OK | os.X_OK):
        return Path(home, ".local", "state", "batchseal")
    return SYSTEM_FOLDER


def dump_settings(settings: Settings) -> bytes:
    """The settings in the form that a child process reads from its standard input, where other users cannot see them."""
    return json.dumps({f.name: getattr(settings, f.name) for f in fields(Settings)}, default=str).encode()


def read_dumped_settings(data: bytes) -> Settings:
    """The settings from what `dump_settings` has made."""
    values: dict[str, Any] = json.loads(data)
    values |= {f.name: Path(values[f.name]) for f in fields(Settings) if f.type is Path}
    return Settings(**values)


def read_settings_file(path: Path) -> dict[str, Any]:
    """The settings of a TOML file, by name. Raises ConfigurationError."""
    import tomllib  # imported here, since few installations have a file, and the health probe must stay small

    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"{path}: {problem}") from None
    names = {key.replace("-", "_"): key for key in table}
    if unknown := sorted(key for name, key in names.items() if name not in OPTIONS):
        raise ConfigurationError(f"{path}: unknown settings {', '.join(unknown)}")
    for key, value in table.items():
        if not isinstance(value, str | int | float):
            raise ConfigurationError(
                f"{path}: {key} must be a text, a number, true or false; several values are written as one text"
            )
    return {name: parse_value(name, str(table[key])) for name, key in names.items() if str(table[key]) != ""}


def check_settings(settings: Settings) -> None:
    """Raises ConfigurationError for settings that are wrong in themselves. Does not look at the network or the database."""
    if not 0 <= settings.port <= 65535:
        raise ConfigurationError(f"--port: {settings.port} is not a port")
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise ConfigurationError("--tls-certificate and --tls-key must be given together")
    if settings.tls_client_ca and not settings.tls_certificate:
        raise ConfigurationError("--tls-client-ca needs --tls-certificate and --tls-key")
    for path in filter(None, (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)):
        if not os.access(path, os.R_OK):
            raise ConfigurationError(f"{path} cannot be read")
    for name, most in MOST_PERCENT.items():
        if not 0 <= (percent := getattr(settings, name)) <= most:
            raise ConfigurationError(f"{modern_flag(name)}: {percent} must be from 0 to {most} percent")
    for name, least in LEAST.items():
        if (number := getattr(settings, name)) < least:
            raise ConfigurationError(f"{modern_flag(name)}: {number} must be {least} or more")
    if settings.workers < 0:
        raise ConfigurationError(f"--workers: {settings.workers} must be 0 or more")
    _check_database(settings)
    _check_visible(settings)
    _check_payload_store(settings)
    check_observation(settings)
    check_operator(settings)
    if settings.hot_folder_enabled:
        from batchseal.settings.hot_folders import check_options  # not for the health probe, which must stay small

        check_options(settings)
    _check_webhooks(settings)
    try:
        _ = settings.advertised
    except ValueError:
        raise ConfigurationError(f"--server.host.port: {settings.advertised_address!r} is not HOST:PORT") from None
    if settings.trusted_proxies:
        from batchseal.system.addresses import TrustedProxies  # not for the health probe, which must stay small

        try:
            TrustedProxies(settings.trusted_proxies)
        except ValueError as problem:
            raise ConfigurationError(f"--trusted-proxies: {problem}") from None
    if settings.header_connections < 0:
        raise ConfigurationError(f"--header-connections: {settings.header_connections} must be 0 or more")
    if settings.service_domain and not settings.service_domain.startswith(("http://", "https://")):
        raise ConfigurationError("--service-domain: must begin with https:// (or http:// on loopback)")
    if settings.sandbox and settings.upstream_address:
        raise ConfigurationError(
            f"--sandbox has the built-in sandbox sign, but {settings.upstream_address} is to sign too; leave one of them out"
        )


def _check_database(settings: Settings) -> None:
    """Raises ConfigurationError if the settings of the database do not go together."""
    for name in ("database_url", "database_owner_url"):
        if getattr(settings, name) and getattr(settings, f"{name}_file"):
            raise ConfigurationError(f"{modern_flag(name)} and {modern_flag(name)}-file: leave one of them out")
    if (
        settings.force_database_recreate
        and not settings.has_embedded_database
        and not settings.force_database_recreate_shared
    ):
        raise ConfigurationError(
            "--force-database-recreate would delete the operations of every instance that uses --database-url: nothing was"
            " started; leave it out, or add --force-database-recreate-shared if that is meant"
        )


def check_pooler(settings: Settings) -> None:
    """Raises ConfigurationError for a pooler before the embedded database, which nobody else can reach."""
    if settings.database_pooler and settings.has_embedded_database:
        raise ConfigurationError(
            "--database-pooler: no pooler stands before the embedded database; leave it out, or name the database that the"
            " pooler leads to with --database-url"
        )


def _check_visible(settings: Settings) -> None:
    """Raises ConfigurationError for the defaults of visible signatures."""
    names = ("visible_pixels_per_point", "visible_area", "visible_template")
    if all(getattr(settings, name) == OPTIONS[name].default for name in names):
        return  # the health probe does without what the rest needs
    from batchseal.errors import ApiError
    from batchseal.signature import VisibleDefaults, VisibleTexts
    from batchseal.visible.parsing import read_look

    if not 0.01 <= settings.visible_pixels_per_point <= 100:
        raise ConfigurationError("--visible-pixels-per-point: must be from 0.01 to 100")
    defaults = VisibleDefaults(
        settings.visible_area, settings.visible_template, settings.visible_pixels_per_point, service=None
    )
    try:
        read_look(VisibleTexts(), "--visible", defaults)
    except ApiError as problem:
        raise ConfigurationError(f"--visible-area or --visible-template cannot be used: {problem.cause}") from None


def _check_payload_store(settings: Settings) -> None:
    """Raises ConfigurationError."""
    if settings.payload_store == OPTIONS["payload_store"].default:
        return  # the health probe does without what the rest needs
    from batchseal.settings.payload_stores import parse_store

    parse_store(settings.payload_store)
    if settings.payload_orphan_hours < 1 or settings.payload_aside_days < 0:
        raise ConfigurationError("--payload-orphan-hours must be 1 or more, and --payload-aside-days 0 or more")
    if bool(settings.payload_store_key) != bool(settings.payload_store_secret):
        raise ConfigurationError("--payload-store-key and --payload-store-secret must be given together")


def _check_webhooks(settings: Settings) -> None:
    """Raises ConfigurationError."""
    for text in settings.webhook_retries.split():
        if not text.isdigit():
            raise ConfigurationError(f"--webhook-retries: {text!r} is not a whole number of seconds")


def client_secret(environment: Mapping[str, str] | None = None) -> str:
    """The secret that the commands of the client use if no file gives it."""
    return (os.environ if environment is None else environment).get("BATCHSEAL_SECRET", "")


def set_for_libraries(name: str, value: str) -> None:
    """Sets an environment variable, for a library that can be configured in no other way."""
    os.environ[name] = value


def default_for_libraries(name: str, value: str) -> None:
    """Like `set_for_libraries`, unless the operator has set the variable."""
    os.environ.setdefault(name, value)
