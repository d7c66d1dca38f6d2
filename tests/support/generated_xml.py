"""Generated XML documents, the same for the same seed: well-formed ones with all that a canonical form changes, and broken ones.

The documents are small, and dense with what is rare in real ones: prefixes that mean something else further in, default
namespaces that are undeclared, attributes whose order the namespaces decide, references, CDATA sections, line ends of all three
kinds, comments and processing instructions at every place, and signatures.
"""

import random

DS = "http://www.w3.org/2000/09/xmldsig#"
URIS = ("urn:a", "urn:b", "http://c.example/x?y=1;z=2", "urn:%C3%A9", "https://d.example/&apos;q&#39;#f", DS)
PREFIXES = ("", "a", "b", "c", "ds", "é", "a-b.c_1", "longer-prefix-than-8")
NAMES = ("a", "b", "Invoice", "Signature", "é", "日本", "x.1-2_3", "ExtensionContent", "ab·c")
ATTRIBUTES = ("a", "b", "é", "z", "A", "attribute-of-some-length", "ab")
TEXTS = (
    "x", " ", "\n  ", "\r\n", "\r", "\t", "&amp;", "&lt;", "&gt;", ">", "&#13;", "&#xD;", "&#xa;", "&#9;", "&quot;",
    "&apos;", "'",
    '"', "é", "€", "\U0001f600", "\x80", "\x85", "\u2028", "\ufffd", "\ue000", "]]", "]", "&#x1F600;", "&#0000233;",
    "a run of text that is longer than a register of any kernel, so that the wide path is taken and left again",
    "Ελληνικά κείμενα", "x" * 31, "y" * 63, "z" * 64, "w" * 65, "日本語のテキスト", "--", "?>", "-->", "\x7f",
)  # fmt: skip
VALUES = tuple(text for text in TEXTS if '"' not in text)
COMMENTS = ("", "c", " - x - ", "<&>", "\r\n", "é", "]]>", "&#13;", "x" * 70)
SPACES = (" ", "\n", "\t", "\r\n", "  ", "\r")


class Generator:
    """One document. `ids` counts, so that no id occurs twice."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._ids = 0
        self._budget = self._rng.choice((3, 8, 20, 60))

    def document(self) -> bytes:
        draw = self._rng.random
        parts = ["\ufeff"] if draw() < 0.1 else []
        if draw() < 0.4:
            parts.append(self._declaration())
        parts += self._outside()
        parts.append(self._element({"": ""}, 0))
        parts += self._outside()
        return "".join(parts).encode()

    def _declaration(self) -> str:
        encoding = self._rng.choice(("", ' encoding="UTF-8"', " encoding='utf-8'"))
        standalone = self._rng.choice(("", " standalone = 'yes'", '\n standalone="no" '))
        return f'<?xml version="1.0"{encoding}{standalone}?>'

    def _outside(self) -> list[str]:
        made = []
        while self._rng.random() < 0.3:
            made.append(self._rng.choice((self._comment, self._instruction, self._space))())
        return made

    def _space(self) -> str:
        return self._rng.choice(SPACES)

    def _comment(self) -> str:
        return f"<!--{self._rng.choice(COMMENTS)}-->"

    def _instruction(self) -> str:
        target = self._rng.choice(("p", "xml-stylesheet", "é", "xmlish"))
        data = self._rng.choice(("", " ", " x", "\n\tx  y ", " ?", " <&>]]> ", " \r\nx\ry", " é"))
        return f"<?{target}{data}?>"

    def _content(self, scope: dict[str, str], depth: int) -> str:
        made: list[str] = []
        for _ in range(self._rng.randrange(6)):
            kind = self._rng.random()
            if kind < 0.45:
                text = self._rng.choice(TEXTS)
                # "]]>" must not arise from two parts.
                made.append("x" if text.startswith((">", "-->")) and made and made[-1].endswith("]") else text)
            elif kind < 0.8 and self._budget > 0 and depth < 12:
                made.append(self._element(scope, depth + 1))
            elif kind < 0.87:
                made.append(
                    f"<![CDATA[{self._rng.choice(('', 'x', '<&>', ']]', ']', chr(13), 'é', ']>', '>>', '&amp;'))}]]>"
                )
            elif kind < 0.94:
                made.append(self._comment())
            else:
                made.append(self._instruction())
        return "".join(made)

    def _element(self, scope: dict[str, str], depth: int) -> str:
        self._budget -= 1
        rng, scope, attributes = self._rng, dict(scope), []
        for prefix in rng.sample(PREFIXES, rng.choice((0, 0, 0, 1, 1, 2, 3) if depth else (0, 1, 2, 4))):
            uri = rng.choice(("", *URIS)) if prefix == "" else rng.choice(URIS)
            scope[prefix] = uri
            name = f"xmlns:{prefix}" if prefix else "xmlns"
            attributes.append(self._attribute(name, uri))
        if rng.random() < 0.02:
            attributes.append('xmlns:xml="http://www.w3.org/XML/1998/namespace"')
        used: set[tuple[str, str]] = set()
        for _ in range(rng.choice((0, 0, 0, 1, 2, 3, 6, 20) if rng.random() < 0.6 else (0,))):
            prefix = rng.choice([prefix for prefix in scope if prefix] or [""]) if rng.random() < 0.5 else ""
            local, uri = rng.choice(ATTRIBUTES), scope[prefix] if prefix else ""
            if (key := (uri, local)) not in used:
                used.add(key)
                attributes.append(self._attribute(f"{prefix}:{local}" if prefix else local, self._value()))
        if rng.random() < 0.1:
            self._ids += 1
            attributes.append(self._attribute(rng.choice(("Id", "ID", "id")), f"{rng.choice(('', ' '))}i{self._ids}"))
        if rng.random() < 0.1:
            attributes.append(self._attribute("xml:lang", rng.choice(("pt", "en"))))
        rng.shuffle(attributes)
        name = rng.choice(NAMES)
        if (prefix := rng.choice([*scope, ""])) and rng.random() < 0.8:
            name = f"{prefix}:{name}"
        tag = name + "".join(rng.choice(SPACES) + attribute for attribute in attributes)
        if rng.random() < 0.2:
            return f"<{tag}{rng.choice(('', ' '))}/>"
        return f"<{tag}{rng.choice(('', '', ' '))}>{self._content(scope, depth)}</{name}{rng.choice(('', '', self._space()))}>"

    def _value(self) -> str:
        return "".join(self._rng.choice(VALUES) for _ in range(self._rng.randrange(4)))

    def _attribute(self, name: str, value: str) -> str:
        equals = self._rng.choice(("=", "=", "=", " = ", "\n="))
        # One quote may stand between quotes of the other kind.
        if "'" not in value and self._rng.random() < 0.3:
            return f"{name}{equals}'{value}'"
        return f'{name}{equals}"{value}"'


def document(seed: int) -> bytes:
    """A well-formed document."""
    return Generator(seed).document()


WORDS = (
    b"<", b">", b"&", b"]]>", b"<!--", b"-->", b"--", b"<?", b"?>", b"<![CDATA[", b"xmlns", b"xmlns:a=''",
    b"xmlns=''", b"'", b'"',
    b"=", b":", b"/", b"</", b"/>", b"\0", b"\x01", b"\x0b", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbf\xbe",
    b"\xf4\x90\x80\x80",
    b"&#0;", b"&#x110000;", b"&#xD800;", b"&x;", b"&#;", b"&#x;", b"xml:", b"a:", b" Id='i1'",
    b"<?xml version='1.0'?>", b" ", b"\r",
    b"<!DOCTYPE a>", b"-", b"1", b"xmlns:xmlns='urn:a'", b"xmlns:xml='urn:a'", b"xmlns:b='relative'", b"\xc0\x80",
    b"\xe2\x82", b"\xc2\x85",
)  # fmt: skip


def damaged(seed: int) -> bytes:
    """A document that was well-formed before a few of its bytes were changed; many still are."""
    rng = random.Random(seed)
    data = bytearray(document(seed))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            data[at:at] = rng.choice(WORDS)
        elif kind == 1:
            data[at : at + rng.randrange(1, 8)] = b""
        elif kind == 2:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 3:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start : start + rng.randrange(1, 30)]
        elif rng.random() < 0.2:
            del data[at:]
    return bytes(data)
