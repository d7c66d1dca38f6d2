"""The names that the canonicaliser takes are those of expat, for every character of the basic plane."""

from xml.parsers import expat

from batchseal._native.canonicaliser import CanonicalTask, canonical_form


def expat_takes(text: str) -> bool:
    try:
        expat.ParserCreate("utf-8").Parse(text.encode(), True)
    except expat.ExpatError:
        return False
    return True


def we_take(text: str) -> bool:
    return isinstance(canonical_form(CanonicalTask(text.encode())), bytes)


def test_characters_of_names() -> None:
    characters = [
        chr(code) for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000 and chr(code) not in "/> \t\r\n:"
    ]
    for pattern in ("<{}/>", "<a{}/>"):
        wrong = [one for one in characters if we_take(pattern.format(one)) is not expat_takes(pattern.format(one))]
        assert wrong == []


def test_names_beyond_the_basic_plane() -> None:
    """The fourth edition of XML 1.0 has none."""
    for code in (0x10000, 0x1F600, 0x20000, 0xEFFFF, 0x10FFFF):
        assert not we_take(f"<{chr(code)}/>")
        assert not we_take(f"<a{chr(code)}/>")
