"""What a span is to those who make one, and to those who send it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

Attribute = str | int | float | bool
# Makes a span: its name, whether it answers a request from outside, and what is said of it.
MakeSpan = Callable[[str, bool, Mapping[str, Attribute]], AbstractContextManager[None]]
