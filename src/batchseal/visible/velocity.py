"""Templates in the spelling of Velocity: a fixed table of names that stand for texts. Nothing is evaluated.

`$certificate.getCommonName()`, `$certificate.commonName` and `${certificate.commonName}` are the same. `\\$` is a dollar sign,
and so is one that no name follows. A line ends at a line break, or at the two characters `\\n`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from batchseal.errors import VisibleSignatureImpossible

# What each name stands for, as the template writes it and as error messages list it.
NAMES = {
    "certificate.commonName": "$certificate.getCommonName()",
    "certificate.organization": "$certificate.getOrganization()",
    "certificate.serialNumber": "$certificate.getSerialNumber()",
    "certificate.issuerCommonName": "$certificate.getIssuerCommonName()",
    "certificate.notBefore": "$certificate.getNotBefore()",
    "certificate.notAfter": "$certificate.getNotAfter()",
    "date": "$date",
    "reason": "$reason",
    "location": "$location",
}
# Other spellings of the same.
ALIASES = {"certificate.issuer.commonName": "certificate.issuerCommonName"}

# Velocity's own syntax, of which nothing but references is offered: a directive, a comment, or text that is not parsed.
DIRECTIVE = re.compile(
    r"#(?:\{?(?:set|if|elseif|else|end|foreach|include|parse|macro|evaluate|define|stop|break|return)\b|#|\*|\[\[)"
)
REFERENCE = re.compile(
    r"""\\\$ | \\n | \r\n? | \n
    | \$!?\{(?P<braced>[^{}]*)\}
    | \$!?(?P<plain>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*(?:\([^()]*\))?)*(?:\([^()]*\))?)
    | (?P<open>\$!?\{)""",
    re.VERBOSE,
)
GETTER = re.compile(r"get([A-Z]\w*)\(\s*\)")

# A template: texts and names in turns, the first one is a text.
Parts = tuple[str, ...]


@lru_cache(maxsize=64)
def parse(template: str) -> Parts:
    """The template as texts and names in turns. Raises VisibleSignatureImpossible, which lists the names that exist."""
    if found := DIRECTIVE.search(template):
        raise VisibleSignatureImpossible(
            f"the template has {found[0]!r}: directives of Velocity are not offered, only {known()}"
        )
    parts, text, at = list[str](), "", 0
    for found in REFERENCE.finditer(template):
        text, at = text + template[at : found.start()], found.end()
        if found["open"]:
            raise VisibleSignatureImpossible(f"the template has {template[found.start() :][:40]!r}, which has no end")
        written = found["braced"] if found["braced"] is not None else found["plain"]
        if written is None:
            text += "$" if found[0] == r"\$" else "\n"
        elif (name := _name(written)) is not None:
            parts += (text, name)
            text = ""
        elif found["plain"] is not None and (name := _name(_without_end(written))) is not None:
            # "$date. And more", "$date.pdf": Velocity takes the longest name that there is.
            parts += (text, name)
            text = written.removeprefix(_without_end(written))
        else:
            raise VisibleSignatureImpossible(f"the template has {found[0][:60]!r}, which is not one of {known()}")
    return (*parts, text + template[at:])


def names(template: str) -> frozenset[str]:
    """The names in a template. Raises VisibleSignatureImpossible."""
    return frozenset(parse(template)[1::2])


def fill(template: str, values: Mapping[str, str]) -> str:
    """The text of a template; `values` has a text for each of its names. A text that is filled in is not read as a template."""
    parts = parse(template)
    return "".join(values[part] if at % 2 else part for at, part in enumerate(parts))


def known() -> str:
    return ", ".join(NAMES.values())


def _name(written: str) -> str | None:
    """The name in its plain spelling: `certificate.getCommonName()` is `certificate.commonName`."""
    steps = []
    for step in written.strip().split("."):
        getter = GETTER.fullmatch(step)
        steps.append(getter[1][0].lower() + getter[1][1:] if getter else step)
    plain = ".".join(steps)
    plain = ALIASES.get(plain, plain)
    return plain if plain in NAMES else None


def _without_end(written: str) -> str:
    """`written` up to its first step for the names that have only one."""
    return written.partition(".")[0]
