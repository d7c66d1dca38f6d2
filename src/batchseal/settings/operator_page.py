"""What the settings say of the operator's page: whether there is one, who may sign in, and what does not go together."""

import os
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.settings.operator_options import ANY, OFF, ROLES
from batchseal.settings.options import Settings


def wants_operator_page(settings: Settings) -> bool:
    """Whether the operator's page is to be on: it was asked for, or the built-in sandbox signs and nobody said no."""
    if settings.operator_port:
        return settings.operator_port != OFF
    return settings.uses_sandbox


def trial_password_path(settings: Settings) -> Path:
    """The file with the password of the operator's page in a trial with the built-in sandbox."""
    return settings.sandbox_folder / "operator-password"


def group_roles(text: str) -> dict[str, str]:
    """The role of each group in `--operator-roles`. Raises ConfigurationError."""
    roles = {}
    for part in text.split():
        group, equals, role = part.rpartition("=")
        if not equals or not group or role not in ROLES:
            raise ConfigurationError(f"--operator-roles: {part!r} is not GROUP=ROLE with one of {', '.join(ROLES)}")
        roles[group] = role
    return roles


def check_operator(settings: Settings) -> None:
    """Raises ConfigurationError for settings of the operator's page that are wrong or do not go together."""
    port = settings.operator_port
    if port not in ("", OFF, ANY) and not (port.isdecimal() and port.isascii() and 0 < int(port) <= 65535):
        raise ConfigurationError(f"--operator-port: {port!r} is neither a port nor {OFF} or {ANY}")
    if settings.operator_idle_minutes < 1 or settings.operator_session_hours < 1:
        raise ConfigurationError("--operator-idle-minutes and --operator-session-hours must be 1 or more")
    if settings.operator_url and not all(_parts(settings.operator_url)):
        raise ConfigurationError("--operator-url: must begin with https:// (or http:// on loopback)")
    if bool(settings.operator_user_header) != bool(settings.operator_proxies):
        raise ConfigurationError("--operator-user-header and --operator-proxies must be given together")
    if settings.operator_oidc_issuer and not (settings.operator_oidc_client and settings.operator_url):
        raise ConfigurationError("--operator-oidc-issuer needs --operator-oidc-client and --operator-url")
    if settings.operator_oidc_issuer and not _is_protected(settings.operator_oidc_issuer):
        raise ConfigurationError("--operator-oidc-issuer: must begin with https:// (or http:// on loopback)")
    if settings.operator_oidc_secret_file and not os.access(settings.operator_oidc_secret_file, os.R_OK):
        raise ConfigurationError(f"--operator-oidc-secret-file: {settings.operator_oidc_secret_file} cannot be read")
    if (settings.operator_user_header or settings.operator_oidc_issuer) and not group_roles(settings.operator_roles):
        raise ConfigurationError("--operator-roles: no group has a role, so nobody could sign in")
    if settings.operator_proxies:
        from batchseal.system.addresses import TrustedProxies  # not for the health probe, which must stay small

        try:
            TrustedProxies(settings.operator_proxies)
        except ValueError as problem:
            raise ConfigurationError(f"--operator-proxies: {problem}") from None


def _is_protected(address: str) -> bool:
    """Whether nobody can read what is sent to this address on its way: it is https, or on this machine."""
    from batchseal.system.loopback import is_loopback  # not for the health probe, which must stay small

    scheme, host = _parts(address)
    return bool(host) and (scheme == "https" or (scheme == "http" and is_loopback(host)))


def _parts(address: str) -> tuple[str, str]:
    """The scheme, if it is http or https, and the host of an address; empty where there is none."""
    from urllib.parse import urlsplit  # not for the health probe, which must stay small

    try:
        parts = urlsplit(address)
        return parts.scheme if parts.scheme in ("http", "https") else "", parts.hostname or ""
    except ValueError:
        return "", ""
