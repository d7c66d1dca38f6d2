"""The languages of the pages. The English sentence is the key of each text; `translations/` has one file for each other language."""

import re
import tomllib
from importlib import resources
from typing import Any

from batchseal.operator.request import Request

# The codes that the pages say (RFC 5646), and each language's own name.
LANGUAGES = {"en": "English", "pt": "Português"}
COOKIE = "batchseal-language"
HTML_CODES = {"en": "en", "pt": "pt-PT"}


class Texts:
    """The texts of one language: `texts("{count} operations", count=3)`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.html_code = HTML_CODES[language]
        self._texts = load(language)

    def __call__(self, sentence: str, **values: Any) -> str:
        """The sentence in this language, with its values. One that has no translation stays English."""
        text = self._texts.get(sentence, sentence)
        return text.format(**values) if values else text


def load(language: str) -> dict[str, str]:
    """The translations into a language, by their English sentences."""
    text = resources.files("batchseal.operator").joinpath("translations", f"{language}.toml").read_text("utf-8")
    return tomllib.loads(text)


def language_of(request: Request | None) -> str:
    """The language of a page: what the operator chose, else the first one of the browser that we have, else English."""
    if request is None:
        return "en"
    chosen = request.cookie(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    for wanted in re.split(r"\s*,\s*", request.header("accept-language"))[:10]:
        code = wanted.partition(";")[0].strip().lower().partition("-")[0]
        if code in LANGUAGES:
            return code
    return "en"
