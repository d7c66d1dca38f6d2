"""Invoices as real ones are: text, a table of items, an image; about 200 KB, hardly compressible, the same for a seed.

Written as PDF syntax by our own code, so that a run needs no PDF library: even numbers end in an xref table (PDF 1.4), odd
ones use object streams and an xref stream (PDF 1.5), every second of those with a PNG predictor, as producers do.
"""

import argparse
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENT_BYTES = 200_000
ROWS_A_PAGE = 26
LOGO = ("01110111", "11011001", "10001011", "11111111")  # drawn in 16-pixel squares over the image
LOGO_BYTES = 3 * 16 * 16 * "".join(LOGO).count("1")  # pixels that compress to next to nothing

SELLERS = ("Oficina São Jorge, Lda.", "Papelaria Central, S.A.", "Moinho do Vale, Lda.", "Águas de Sintra, S.A.")
BUYERS = ("Construções Tejo", "Clínica Boa Vista", "Hotel Miramar", "Escola do Pinhal", "Transportes Lima")
STREETS = ("Rua das Flores", "Avenida da República", "Largo do Carmo", "Travessa da Fonte", "Praça Velha")
TOWNS = ("1200-192 Lisboa", "4050-265 Porto", "2780-201 Oeiras", "3000-075 Coimbra", "8000-076 Faro")
ITEMS = (
    "Papel A4, 80 g, caixa",
    "Manutenção mensal",
    "Tinteiro preto",
    "Serviço de transporte",
    "Cadeira giratória",
    "Licença anual",
    "Parafusos M6, 200 un.",
    "Hora técnica",
    "Cabo de rede, 5 m",
    "Lâmpada LED, 9 W",
)
Row = tuple[str, int, float, float]  # item, count, price, value


@dataclass(frozen=True, slots=True)
class PdfObject:
    """An indirect object; its number is its place in the list, from 1. `stream` is None where it has none."""

    dictionary: bytes
    stream: bytes | None = None

    @property
    def body(self) -> bytes:
        if self.stream is None:
            return self.dictionary
        return self.dictionary[:-2] + b"/Length %d>>\nstream\n" % len(self.stream) + self.stream + b"\nendstream"


def invoice(number: int, seed: int = 0, size_bytes: int = DOCUMENT_BYTES) -> bytes:
    """One invoice as PDF bytes, within 2 % of `size_bytes`, but never under 12 KB."""
    # Not for secrets: the same seed must give the same file.
    chance = random.Random(f"{seed}/{number}")
    pages = page_contents(number, chance)
    image_bytes = max(size_bytes - sum(map(len, pages)) - 2_500, 0) + LOGO_BYTES
    objects = document_objects(number, chance, pages, image_bytes)
    identifier = chance.randbytes(16).hex().encode()
    if number % 2 == 0:
        return with_xref_table(objects, identifier)
    return with_xref_stream(objects, identifier, predictor=number % 4 == 1)


def write_invoices(folder: Path, count: int, seed: int = 0, size_bytes: int = DOCUMENT_BYTES) -> Iterator[Path]:
    """Writes invoice-00001.pdf and so on, giving each path once it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        path = folder / f"invoice-{number:05d}.pdf"
        path.write_bytes(invoice(number, seed, size_bytes))
        yield path


# --- what stands on the pages ------------------------------------------------------------------------------------


def page_contents(number: int, chance: random.Random) -> list[bytes]:
    """A deflated content stream for each page; the image is on the first."""
    rows = [item_row(chance) for _ in range(chance.randint(4, 3 * ROWS_A_PAGE - 10))]
    slices = [rows[at : at + ROWS_A_PAGE] for at in range(0, len(rows), ROWS_A_PAGE)]
    contents = []
    for page, page_rows in enumerate(slices, 1):
        lines = header(number, chance) if page == 1 else []
        lines += table(page_rows)
        if page == len(slices):
            lines += totals(rows)
        lines.append(text(60, 40, f"Fatura FT 2026/{number:05d} - página {page} de {len(slices)}", size=8))
        contents.append(zlib.compress("\n".join(lines).encode("cp1252"), 6))
    return contents


def item_row(chance: random.Random) -> Row:
    count, price = chance.randint(1, 40), chance.randint(50, 90_000) / 100
    return chance.choice(ITEMS), count, price, count * price


def header(number: int, chance: random.Random) -> list[str]:
    day = f"2026-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
    return [
        "q 110 0 0 110 435 690 cm /Im1 Do Q",
        text(60, 780, chance.choice(SELLERS), "F2", 16),
        text(60, 762, f"{chance.choice(STREETS)}, {chance.randint(1, 300)}"),
        text(60, 748, chance.choice(TOWNS)),
        text(60, 734, f"NIF 50{chance.randint(1_000_000, 9_999_999)}"),
        text(60, 690, f"Fatura FT 2026/{number:05d}", "F2", 14),
        text(60, 674, f"Data: {day}    ATCUD: {chance.randbytes(4).hex().upper()}-{number}"),
        text(60, 646, f"{chance.choice(BUYERS)}, {chance.choice(STREETS)}, {chance.choice(TOWNS)}"),
    ]


def table(rows: list[Row]) -> list[str]:
    columns = ((60, "Descrição"), (330, "Quant."), (400, "Preço"), (480, "Valor"))
    lines = ["0.9 g 56 606 480 18 re f 0 g", *(text(x, 611, title, "F2") for x, title in columns)]
    for place, (item, count, price, value) in enumerate(rows):
        y = 588 - 17 * place
        cells = (item, str(count), money(price), money(value))
        lines += [text(x, y, cell) for (x, _), cell in zip(columns, cells, strict=True)]
        lines.append(f"0.7 G 0.3 w 56 {y - 5} m 536 {y - 5} l S")
    return lines


def totals(rows: list[Row]) -> list[str]:
    net = sum(value for *_, value in rows)
    return [
        text(380, 118, f"Total sem IVA  {money(net)}"),
        text(380, 102, f"IVA 23 %  {money(net * 0.23)}"),
        text(380, 84, f"Total  {money(net * 1.23)}", "F2", 12),
    ]


def text(x: int, y: int, words: str, font: str = "F1", size: int = 10) -> str:
    escaped = words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /{font} {size} Tf {x} {y} Td ({escaped}) Tj ET"


def money(amount: float) -> str:
    return f"{amount:,.2f} €".replace(",", " ").replace(".", ",")


# --- the objects -------------------------------------------------------------------------------------------------


def image(chance: random.Random, raw_bytes: int) -> PdfObject:
    """A square RGB picture of noise with a logo on it, deflated: as hard to compress as a photograph."""
    side = round((raw_bytes / 3) ** 0.5)
    pixels = bytearray(chance.randbytes(3 * side * side))
    for row in range(min(side, 16 * len(LOGO))):
        for place, square in enumerate(LOGO[row // 16]):
            if square == "1" and 16 * (place + 1) <= side:
                at = 3 * (row * side + 16 * place)
                pixels[at : at + 48] = b"\x1a\x4f\x8b" * 16
    form = b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB/BitsPerComponent 8" % (side, side)
    return PdfObject(form + b"/Filter/FlateDecode>>", zlib.compress(pixels, 1))


def document_objects(number: int, chance: random.Random, pages: list[bytes], image_bytes: int) -> list[PdfObject]:
    """All objects; the catalog is 1, the information dictionary 3."""
    first_page = 7
    kids = b" ".join(b"%d 0 R" % (first_page + 2 * at) for at in range(len(pages)))
    font = b"<</Type/Font/Subtype/Type1/BaseFont/%s/Encoding/WinAnsiEncoding>>"
    objects = [
        PdfObject(b"<</Type/Catalog/Pages 2 0 R/Lang(pt-PT)>>"),
        PdfObject(b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(pages), kids)),
        PdfObject(b"<</Title(Fatura FT 2026/%05d)/Producer(invoices)/CreationDate(D:20261121120000Z)>>" % number),
        PdfObject(font % b"Helvetica"),
        PdfObject(font % b"Helvetica-Bold"),
        image(chance, image_bytes),
    ]
    resources = b"<</Font<</F1 4 0 R/F2 5 0 R>>/XObject<</Im1 6 0 R>>>>"
    for at, content in enumerate(pages):
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources %s/Contents %d 0 R>>"
        objects.append(PdfObject(page % (resources, first_page + 2 * at + 1)))
        objects.append(PdfObject(b"<</Filter/FlateDecode>>", content))
    return objects


# --- the two forms of a file (ISO 32000-2 7.5.4, 7.5.7, 7.5.8) ---------------------------------------------------


def with_xref_table(objects: list[PdfObject], identifier: bytes) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, item in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, item.body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"<</Size %d/Root 1 0 R/Info 3 0 R/ID[<%s><%s>]>>"
    out += b"trailer\n" + trailer % (len(objects) + 1, identifier, identifier)
    return bytes(out + b"\nstartxref\n%d\n%%%%EOF\n" % start)


def with_xref_stream(objects: list[PdfObject], identifier: bytes, *, predictor: bool) -> bytes:
    """What has no stream goes into one object stream."""
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    container, table_number = len(objects) + 1, len(objects) + 2
    entries = [(0, 0, 0)] * (table_number + 1)
    entries[0] = (0, 0, 65535)
    heads, bodies, packed = b"", b"", 0
    streams = []
    for number, item in enumerate(objects, 1):
        if item.stream is not None:
            streams.append((number, item))
            continue
        entries[number] = (2, container, packed)
        heads += b"%d %d " % (number, len(bodies))
        bodies += item.dictionary + b"\n"
        packed += 1
    form = b"<</Type/ObjStm/N %d/First %d/Filter/FlateDecode>>" % (packed, len(heads))
    for number, item in [*streams, (container, PdfObject(form, zlib.compress(heads + bodies)))]:
        entries[number] = (1, len(out), 0)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, item.body)
    start = len(out)
    entries[table_number] = (1, start, 0)
    rows = [struct.pack(">BIH", *entry) for entry in entries]
    trailer = b"<</Type/XRef/Size %d/W[1 4 2]/Root 1 0 R/Info 3 0 R/ID[<%s><%s>]/Filter/FlateDecode"
    trailer %= (table_number + 1, identifier, identifier)
    if predictor:
        trailer += b"/DecodeParms<</Predictor 12/Columns 7>>"
        rows = [up_filtered(row, above) for row, above in zip(rows, [bytes(7), *rows[:-1]], strict=True)]
    out += b"%d 0 obj\n%s\nendobj\n" % (table_number, PdfObject(trailer + b">>", zlib.compress(b"".join(rows))).body)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def up_filtered(row: bytes, above: bytes) -> bytes:
    """A row with PNG's "up" filter: its tag, then the differences to the row above."""
    return b"\x02" + bytes((a - b) & 255 for a, b in zip(row, above, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bytes", type=int, default=DOCUMENT_BYTES, help="size of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("invoices"))
    options = parser.parse_args()
    files = sum(1 for _ in write_invoices(options.out, options.count, options.seed, options.bytes))
    print(f"{files} invoices in {options.out}")


if __name__ == "__main__":
    main()
