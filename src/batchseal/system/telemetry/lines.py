"""A line of the log on its way: what a step makes of its fields, and where it goes."""

from collections.abc import Callable, MutableMapping
from typing import Any

# The fields of a line.
Event = MutableMapping[str, Any]
# Takes a finished line, and the fields that it was made of.
Write = Callable[[str, Event], None]
