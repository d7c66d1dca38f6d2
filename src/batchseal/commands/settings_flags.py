"""A flag for each setting, made from `settings.load.OPTIONS`, for the commands that read the settings."""

import argparse
from collections.abc import Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any

from batchseal.commands.messages import complain
from batchseal.settings.load import OPTIONS, Settings, environment_names, load_settings, modern_flag

PRECEDENCE = """
A flag wins over an environment variable, that over the file of --config. An empty value is the same as none.
An unknown dotted flag (--a.b=c) is reported and ignored."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help with room for the original product's long flags: explanations start on a line of their own."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=8, width=118)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = ", ".join(action.option_strings)
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{names} {self._format_args(action, self._get_default_metavar_for_optional(action))}"


def settings_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser with a flag for each setting: its modern name, then the original product's."""
    parser = argparse.ArgumentParser(
        prog=f"batchseal {command}",
        usage=f"batchseal {command} [--FLAG=VALUE | --FLAG VALUE]...",
        description=description,
        epilog=PRECEDENCE,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    titles = dict.fromkeys(option.metadata["group"] for option in OPTIONS.values())
    groups = {title: parser.add_argument_group(title) for title in titles}
    for name, option in OPTIONS.items():
        group = groups[option.metadata["group"]]
        group.add_argument(*flags_of(name), dest=name, help=help_of(name, option), **values_of(option))
    return parser


def flags_of(name: str) -> list[str]:
    dotted = OPTIONS[name].metadata["dotted"]
    return [modern_flag(name)] + ([f"--{dotted}"] if dotted else [])


def values_of(option: "Field[Any]") -> dict[str, Any]:
    """How argparse reads the option. All values stay text: config.parse_value gives them their types."""
    if option.type is bool:
        return {"nargs": "?", "const": "true", "metavar": "true|false"}
    if choices := option.metadata["choices"]:
        return {"metavar": "|".join(choices)}
    return {"metavar": "N" if option.type is int else "FOLDER" if option.type is Path else "TEXT"}


def help_of(name: str, option: "Field[Any]") -> str:
    default = "" if option.default is MISSING else option.default
    shown = str(default).lower() if isinstance(default, bool) else str(default) or "none"
    variables = ", ".join(dict.fromkeys(environment_names(name)))
    text = f"{option.metadata['help']} (default: {shown}; environment: {variables})"
    return text.replace("%", "%%")


def split_unknown_dotted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes out flags of the original's framework that mean nothing here: (what is left, their names).

    A dotted flag is unknown if no setting has it; a value that follows it as an argument goes with it.
    """
    known = {flag for name in OPTIONS for flag in flags_of(name)}
    left: list[str] = []
    unknown: list[str] = []
    skip_value = False
    for argument in arguments:
        flag, equals, _ = argument.partition("=")
        if flag.startswith("--") and "." in flag and flag not in known:
            unknown.append(flag)
            skip_value = not equals
        elif not skip_value or argument.startswith("-"):
            left.append(argument)
            skip_value = False
        else:
            skip_value = False
    return left, unknown


def read_settings(command: str, description: str, arguments: Sequence[str]) -> Settings:
    arguments, unknown = split_unknown_dotted(arguments)
    flags = vars(settings_parser(command, description).parse_args(arguments))
    for flag in unknown:
        complain(f"warning: {flag} is not known here and has no effect")
    return load_settings({name: text for name, text in flags.items() if text is not None})
