"""Makes a command-line flag for each setting of `settings.load.OPTIONS`, for the commands that need settings."""

import argparse
from collections.abc import Collection, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any, NoReturn

from batchseal.commands.messages import complain
from batchseal.settings.declaration import heading_of
from batchseal.settings.load import OPTIONS, Settings, environment_names, load_settings, modern_flag

SOURCES = """
Each setting can be given as a flag, as an environment variable, or in the file of --config. A flag takes
precedence over an environment variable, and both take precedence over the file. An empty value counts as not given.
An unknown flag with a dot in its name (--a.b=c) is reported and ignored, because command lines of the original
product contain such flags. Any other unknown flag is an error."""

ALL_ACCEPTED = """
The command accepts every flag of `batchseal serve`, so that it can be called with the same arguments. Only the
flags above have an effect.
"""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Formats help for the long flags of the original product: each explanation starts on a line of its own."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=8, width=118)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = ", ".join(action.option_strings)
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{names} {self._format_args(action, self._get_default_metavar_for_optional(action))}"


class SettingsParser(argparse.ArgumentParser):
    """A parser whose complaint about an unknown flag names a flag like it."""

    def error(self, message: str) -> NoReturn:
        unknown = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        if message.startswith("unrecognized arguments:") and unknown:
            from difflib import get_close_matches  # only now: the service and its probe need no such module

            known = [flag for flag in self._option_string_actions if "." not in flag]
            alike = get_close_matches(unknown[0], known, n=1)
            message += f" (did you mean {alike[0]}?)" if alike else f" (`{self.prog} --help` lists the flags)"
        super().error(message)


def settings_parser(command: str, description: str, used: Collection[str] = ()) -> argparse.ArgumentParser:
    """A parser with the flags of all settings: for each its modern name, then that of the original product, if there is one.

    `used` names the settings that the command uses; its help shows only these. An empty `used` shows all.
    """
    parser = SettingsParser(
        prog=f"batchseal {command}",
        usage=f"batchseal {command} [--FLAG=VALUE | --FLAG VALUE]...",
        description=description,
        epilog=ALL_ACCEPTED + SOURCES if used else SOURCES,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    titles = dict.fromkeys(option.metadata["group"] for option in OPTIONS.values())
    groups = {title: parser.add_argument_group(heading_of(title)) for title in titles}
    for name, option in OPTIONS.items():
        group = groups[option.metadata["group"]]
        text = argparse.SUPPRESS if used and name not in used else help_of(name, option)
        group.add_argument(*flags_of(name), dest=name, help=text, **values_of(option))
    return parser


def flags_of(name: str) -> list[str]:
    """The flags of a setting."""
    dotted = OPTIONS[name].metadata["dotted"]
    return [modern_flag(name)] + ([f"--{dotted}"] if dotted else [])


def values_of(option: "Field[Any]") -> dict[str, Any]:
    """Arguments for `add_argument`. All values stay text; `settings.load.parse_value` converts them."""
    if option.type is bool:
        return {"nargs": "?", "const": "true", "metavar": "true|false"}
    if choices := option.metadata["choices"]:
        return {"metavar": "|".join(choices)}
    return {"metavar": "N" if option.type in (int, float) else "FOLDER" if option.type is Path else "TEXT"}


def help_of(name: str, option: "Field[Any]") -> str:
    """The help text of a setting, with its default and its environment variables."""
    default = "" if option.default is MISSING else option.default
    shown = option.metadata["shown"] or (str(default).lower() if isinstance(default, bool) else str(default) or "none")
    variables = ", ".join(dict.fromkeys(environment_names(name)))
    text = f"{option.metadata['help']} (default: {shown}; environment: {variables})"
    return text.replace("%", "%%")


def split_unknown_dotted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Removes the flags that only the original product's framework knows. Returns (the other arguments, the removed flags).

    These are flags with a dot in their name that belong to no setting. If the value of such a flag is an argument of its
    own, it is removed too.
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


def read_settings(
    command: str, description: str, arguments: Sequence[str], used: Collection[str] = (), exit_codes: str = ""
) -> Settings:
    """The settings from the arguments of a command that has no other flags. Raises ConfigurationError.

    `used` is as in `settings_parser`; `exit_codes` is the last sentence of the help.
    """
    parser = settings_parser(command, description, used)
    parser.epilog = f"{parser.epilog}\n\n{exit_codes}" if exit_codes else parser.epilog
    return parse(parser, arguments)[0]


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[Settings, argparse.Namespace]:
    """Parses with a parser of `settings_parser`. Returns the settings, and all that was read. Raises ConfigurationError.

    Warns of the flags that only the original product's framework knows.
    """
    arguments, unknown = split_unknown_dotted(arguments)
    read = parser.parse_args(arguments)
    for flag in unknown:
        complain(f"warning: {flag} is not known here and has no effect")
    given = {name: getattr(read, name) for name in OPTIONS}
    return load_settings({name: text for name, text in given.items() if text is not None}), read
