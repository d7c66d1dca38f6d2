"""The settings about the operator's page. `options.py` has the rest, and `operator_page.py` says what does not go together."""

from dataclasses import dataclass

from batchseal.settings.declaration import option
from batchseal.settings.store_options import StoreOptions

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
