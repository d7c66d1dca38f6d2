"""The settings about webhooks. `options.py` has the others, and `webhooks.py` reads what the client services say of theirs."""

from dataclasses import dataclass

from batchseal.settings.declaration import option
from batchseal.settings.upstream_options import UpstreamOptions


# Only Settings is made. What a base would generate beside its fields costs memory in the health probe of a container.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class WebhookOptions(UpstreamOptions):
    """Everything about webhooks, on top of the settings about the network. A class with slots has one base."""

    webhook_hosts: str = option(
        "",
        "hosts that webhooks of client services may be sent to, separated by spaces: a name, an address, or *.domain, each "
        "perhaps with :port; empty: none, whatever the client services say",
        group="webhooks",
    )
    webhook_allow_http: bool = option(
        False, "allow webhooks without TLS to other machines; they hold references, and no content", group="webhooks"
    )
    webhook_timeout: int = option(15, "seconds within which a receiver must answer", group="webhooks")
    webhook_retries: str = option(
        "5 300 1800 7200 18000 36000 36000",
        "seconds between one try of an event and the next, separated by spaces; each is lengthened by up to a fifth, at random",
        group="webhooks",
    )
    webhook_days: int = option(
        14,
        "days that an event is kept after it was delivered or given up, so that it can be sent again",
        group="webhooks",
    )
