"""Writes the list of values in chart/README.md from the comments of chart/values.yaml (`make chart-readme`).

The comments that stand above a key, up to the next empty line, are about that key. A line `# --- title ---` begins a section.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "chart"
PAGE = CHART / "README.md"
BEGIN, END = "<!-- values: written by `make chart-readme` -->\n", "<!-- end of values -->\n"
SECTION = re.compile(r"^# -{3,} (.+?) -{3,}$")
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):(.*)$")


@dataclass(frozen=True, slots=True)
class Value:
    """A value as values.yaml has it: its section, its path from the top, what it is by default, and what is said about it."""

    section: str
    path: tuple[str, ...]
    default: Any
    text: str

    @property
    def is_section_of_others(self) -> bool:
        """Whether the values below it are listed one by one."""
        return self.default is ...


def schema_of(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """What values.schema.json says of the value at `path`. Raises KeyError if it does not know the value."""
    found: dict[str, Any] = schema
    for key in path:
        found = resolved(schema, found)["properties"][key]
    return resolved(schema, found)


def resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """`part`, or the definition that it names."""
    if reference := part.get("$ref"):
        definition: dict[str, Any] = schema["definitions"][reference.rpartition("/")[2]]
        return definition
    return part


def values(text: str, schema: dict[str, Any]) -> Iterator[Value]:
    """All values of `text`, in their order. What Kubernetes reads as it is counts as one value."""
    defaults = yaml.safe_load(text)
    section, said, parents = "", list[str](), list[str]()
    below = -1  # the indentation of a value that counts as one, while its lines are passed by
    for line in text.splitlines():
        if heading := SECTION.match(line):
            section, said = heading[1], []
        elif line.lstrip().startswith("#"):
            said.append(line.lstrip()[1:].strip())
        elif key := KEY.match(line):
            indent, name, rest = len(key[1]), key[2], key[3].strip()
            if not 0 <= below < indent:
                below = -1
                path = (*parents[: indent // 2], name)
                is_block = not rest and "properties" in schema_of(schema, path)
                default = defaults
                for part in path:
                    default = default[part]
                yield Value(section, path, ... if is_block else default, " ".join(said))
                parents = list(path)
                below = -1 if is_block else indent
            said = []
        else:
            said = []


def table(text: str, schema: dict[str, Any]) -> str:
    """The list of values as Markdown, with a table for each section."""
    lines, section = list[str](), None
    for value in values(text, schema):
        if value.section != section:
            section = value.section
            lines += ["", f"### {section[0].upper()}{section[1:]}", "", "| value | default | |", "|---|---|---|"]
        default = "" if value.is_section_of_others else f"`{json.dumps(value.default, ensure_ascii=False)}`"
        cells = (f"`{'.'.join(value.path)}`", default, value.text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells).rstrip() + " |")
    return "\n".join(lines[1:]) + "\n"


def page(now: str) -> str:
    """chart/README.md as it should be, from what it is `now`."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    before, _, rest = now.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table((CHART / 'values.yaml').read_text('utf-8'), schema)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
