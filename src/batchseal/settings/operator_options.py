"""The settings about the operator's page. `options.py` has the rest, and `check_operator` says what does not go together."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchseal.errors import ConfigurationError
from batchseal.settings.declaration import option
from batchseal.settings.store_options import StoreOptions

if TYPE_CHECKING:
    from batchseal.settings.options import Settings

# What `--operator-port` may say instead of a number.
OFF, ANY = "off", "any"
ROLES = ("viewer", "operator", "auditor", "admin")


# Only Settings is made. What a base would generate beside its fields costs memory in the health probe of a container.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class OperatorOptions(StoreOptions):
    """Everything about the operator's page, on top of the settings about the payload store."""

    operator_port: str = option(
        "",
        "port of the operator's page; any: a free one; off: no page; empty: off, or any where the built-in sandbox signs",
        group="operator's page",
    )
    operator_host: str = option("127.0.0.1", "the address that the operator's page listens on", group="operator's page")
    operator_url: str = option(
        "",
        "address of the operator's page as browsers see it, such as https://batchseal.example; needed for OpenID Connect",
        group="operator's page",
    )
    operator_insecure: bool = option(
        False,
        "allow signing in to the operator's page without TLS; whoever can read the network can then take over a session",
        group="operator's page",
    )
    operator_totp: str = option(
        "admin",
        "for which accounts of the operator's page a one-time code is required: those with the role admin, all, or none",
        group="operator's page",
        choices=("admin", "all", "none"),
    )
    operator_idle_minutes: int = option(
        30, "minutes without a click after which an operator has to sign in again", group="operator's page"
    )
    operator_session_hours: int = option(
        12, "hours after which an operator has to sign in again in any case", group="operator's page"
    )
    operator_user_header: str = option(
        "",
        "header in which a proxy names the operator who is signed in there, such as X-Forwarded-User; only from "
        "--operator-proxies",
        group="operator's page",
    )
    operator_groups_header: str = option(
        "X-Forwarded-Groups",
        "header in which that proxy names the groups of the operator, separated by commas",
        group="operator's page",
    )
    operator_proxies: str = option(
        "",
        "addresses and networks of the proxies that may sign operators in with --operator-user-header, separated by spaces",
        group="operator's page",
    )
    operator_roles: str = option(
        "",
        "roles of the groups of --operator-user-header and of OpenID Connect, as GROUP=ROLE, separated by spaces; roles are "
        "viewer, operator, auditor and admin; who is in no such group is refused",
        group="operator's page",
    )
    operator_oidc_issuer: str = option(
        "",
        "address of an OpenID Connect provider that operators sign in with; it must offer the code flow with PKCE",
        group="operator's page",
    )
    operator_oidc_client: str = option("", "client id of this service at that provider", group="operator's page")
    operator_oidc_secret_file: str = option(
        "", "file with the client secret at that provider; empty: a public client", group="operator's page"
    )
    operator_oidc_groups: str = option(
        "groups", "claim of that provider that names the groups of an operator", group="operator's page"
    )

    @property
    def has_operator_page(self) -> bool:
        """Whether the workers listen for operators. True only once the supervisor has settled on a port."""
        return self.operator_port.isdecimal()


def wants_operator_page(settings: "Settings") -> bool:
    """Whether the operator's page is to be on: it was asked for, or the built-in sandbox signs and nobody said no."""
    if settings.operator_port:
        return settings.operator_port != OFF
    return settings.uses_sandbox


def trial_password_path(settings: "Settings") -> Path:
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


def check_operator(settings: "Settings") -> None:
    """Raises ConfigurationError for settings of the operator's page that are wrong or do not go together."""
    port = settings.operator_port
    if port not in ("", OFF, ANY) and not (port.isdecimal() and port.isascii() and 0 < int(port) <= 65535):
        raise ConfigurationError(f"--operator-port: {port!r} is neither a port nor {OFF} or {ANY}")
    if settings.operator_idle_minutes < 1 or settings.operator_session_hours < 1:
        raise ConfigurationError("--operator-idle-minutes and --operator-session-hours must be 1 or more")
    if settings.operator_url and not settings.operator_url.startswith(("https://", "http://")):
        raise ConfigurationError("--operator-url: must begin with https:// (or http:// on loopback)")
    if bool(settings.operator_user_header) != bool(settings.operator_proxies):
        raise ConfigurationError("--operator-user-header and --operator-proxies must be given together")
    if settings.operator_oidc_issuer and not (settings.operator_oidc_client and settings.operator_url):
        raise ConfigurationError("--operator-oidc-issuer needs --operator-oidc-client and --operator-url")
    if settings.operator_user_header or settings.operator_oidc_issuer:
        if not group_roles(settings.operator_roles):
            raise ConfigurationError("--operator-roles: no group has a role, so nobody could sign in")
    if settings.operator_proxies:
        from batchseal.system.addresses import TrustedProxies  # not for the health probe, which must stay small

        try:
            TrustedProxies(settings.operator_proxies)
        except ValueError as problem:
            raise ConfigurationError(f"--operator-proxies: {problem}") from None
