"""Invoices in UBL 2.1 as real ones are: namespaces, notes with accents, a line for each item; the same for a seed.

Each has an empty ExtensionContent, which is where UBL puts a signature.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

DOCUMENT_BYTES = 20_000
UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
XADES_IN_UBL = "urn:oasis:names:specification:ubl:dsig:enveloped:xades"
BUYERS = ("Construções Tejo & Filhos", "Clínica Boa Vista", "Hotel Miramar", "Escola do Pinhal", "Transportes Lima")
ITEMS = ("Papel A4, 80 g", "Manutenção mensal", "Tinteiro <preto>", "Serviço de transporte", "Cabo de rede, 5 m")


def xml_invoice(number: int, seed: int = 0, size_bytes: int = DOCUMENT_BYTES) -> bytes:
    """One invoice, at least `size_bytes` long and at most a line longer."""
    # Not for secrets: the same seed must give the same file.
    chance = random.Random(f"xml/{seed}/{number}")
    head, foot = _head(number, chance), "</Invoice>\n"
    lines: list[str] = []
    length = len((head + foot).encode())
    while length < size_bytes:
        lines.append(_line(len(lines) + 1, chance))
        length += len(lines[-1].encode())
    return (head + "".join(lines) + foot).encode()


def write_xml_invoices(folder: Path, count: int, seed: int = 0, size_bytes: int = DOCUMENT_BYTES) -> Iterator[Path]:
    """Writes invoice-00001.xml and so on, giving each path once it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        path = folder / f"invoice-{number:05d}.xml"
        path.write_bytes(xml_invoice(number, seed, size_bytes))
        yield path


def _head(number: int, chance: random.Random) -> str:
    day = f"2026-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Invoice xmlns="{UBL}Invoice-2" xmlns:cac="{UBL}CommonAggregateComponents-2"
 xmlns:cbc="{UBL}CommonBasicComponents-2" xmlns:ext="{UBL}CommonExtensionComponents-2">
  <ext:UBLExtensions>
    <ext:UBLExtension>
      <ext:ExtensionURI>{XADES_IN_UBL}</ext:ExtensionURI>
      <ext:ExtensionContent/>
    </ext:UBLExtension>
  </ext:UBLExtensions>
  <cbc:UBLVersionID>2.1</cbc:UBLVersionID>
  <cbc:ID>FT 2026/{number}</cbc:ID>
  <cbc:IssueDate>{day}</cbc:IssueDate>
  <cbc:DocumentCurrencyCode>EUR</cbc:DocumentCurrencyCode>
  <cac:AccountingCustomerParty>
    <cac:Party>
      <cac:PartyName><cbc:Name>{escape(chance.choice(BUYERS))}</cbc:Name></cac:PartyName>
    </cac:Party>
  </cac:AccountingCustomerParty>
"""


def _line(number: int, chance: random.Random) -> str:
    count, price = chance.randint(1, 40), chance.randint(50, 90_000) / 100
    return f"""  <cac:InvoiceLine>
    <cbc:ID>{number}</cbc:ID>
    <cbc:InvoicedQuantity unitCode="C62">{count}</cbc:InvoicedQuantity>
    <cbc:LineExtensionAmount currencyID="EUR">{count * price:.2f}</cbc:LineExtensionAmount>
    <cac:Item>
      <cbc:Name>{escape(chance.choice(ITEMS))}</cbc:Name>
      <cac:ClassifiedTaxCategory>
        <cbc:ID>S</cbc:ID>
        <cbc:Percent>23</cbc:Percent>
        <cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme>
      </cac:ClassifiedTaxCategory>
    </cac:Item>
    <cac:Price><cbc:PriceAmount currencyID="EUR">{price:.2f}</cbc:PriceAmount></cac:Price>
  </cac:InvoiceLine>
"""
