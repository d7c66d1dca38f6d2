"""How a setting is declared, with all that `--help` and `load.py` need to know of it."""

from collections.abc import Iterable
from dataclasses import field
from typing import Any

# The original product's names of its own settings begin with this.
VENDOR = "einvoice-integration-client."

# The headings of groups whose name says too little by itself.
HEADINGS = {
    "upstream": "Signing service and time stamps",
    "shares": "Shares of client services",
    "keeping": "What is kept, and for how long",
    "observation": "Logs, metrics and traces",
}


def heading_of(group: str) -> str:
    """The heading of a group of settings, in `--help` and in the documentation."""
    return HEADINGS.get(group, group[:1].upper() + group[1:])


def option(
    default: Any,
    help: str,
    *,
    dotted: str = "",
    group: str = "service",
    choices: Iterable[str] = (),
    variable: str = "",
    secret: bool = False,
    shown: str = "",
) -> Any:
    """Declares a setting.

    `help` is what `--help` prints. `dotted` is the name that the original product has for it, without dashes. `group` is the
    group in `--help`. `variable` is one more environment variable that sets it. A `secret` is not shown in the repr of the
    settings. `shown` is what `--help` prints as the default, where that depends on the environment.
    """
    metadata = {"help": help, "dotted": dotted, "group": group, "choices": tuple(choices), "variable": variable}
    metadata["shown"] = shown
    return field(default=default, metadata=metadata, repr=not secret)


def upstream(default: Any, help: str, **more: Any) -> Any:
    """Declares a setting of the group "upstream": everything about the signing service."""
    return option(default, help, group="upstream", **more)
