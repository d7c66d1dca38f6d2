"""How much faster the canonicaliser is than lxml: parsing, exclusive canonical form and SHA-256 of UBL invoices, on one core.

Both get the same invoices of 20 KB and of 200 KB from memory, each with text of its own, and give the same digests. Rounds take
turns, figures are medians of CPU time. Ours is called for 32 invoices at a time, as the service does; lxml makes them one by
one. `c14n_over_memcpy` is the canonical form without a digest beside memcpy of the same documents of 200 KB, both into a buffer
that is used again. Left out: other encodings than UTF-8, which are transcoded before, and the signature itself.
"""

import argparse
import gc
import hashlib
import io
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence

from lxml import etree

from batchseal._native import canonicaliser
from batchseal._native.canonicaliser import CanonicalForm, CanonicalTask, digest_many

UBL = "urn:oasis:names:specification:ubl:schema:xsd"
SIZES = {"20k": 20_000, "200k": 200_000}
BATCH = 32
COPIES = 50  # of each document, so that the clock can tell
TEXT = "serviço de manutenção mensal, papel A4 80 g & tinteiro preto < 5 un.; transporte até Évora"


def invoice(number: int, size_bytes: int) -> bytes:
    """A UBL invoice of about this size, indented as most are, with a comment and an escaped character here and there."""
    chance = random.Random(number)
    made = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<!-- made for a benchmark -->\n'
        f'<Invoice xmlns="{UBL}:Invoice-2" xmlns:cac="{UBL}:CommonAggregateComponents-2"'
        f' xmlns:cbc="{UBL}:CommonBasicComponents-2">\n  <cbc:ID>FT 2026/{number}</cbc:ID>\n'
    ]
    size = len(made[0])
    while size < size_bytes - 20:
        made.append(line(chance))
        size += len(made[-1].encode())
    return "".join([*made, "</Invoice>\n"]).encode()


def line(chance: random.Random) -> str:
    text = " ".join(chance.choices(TEXT.split(), k=6)).replace("&", "&amp;").replace("<", "&lt;")
    amount = f"{chance.randrange(10**6) / 100:.2f}"
    return f"""  <cac:InvoiceLine>
    <cbc:ID>{chance.randrange(1000)}</cbc:ID>
    <cbc:InvoicedQuantity unitCode="C62">{chance.randrange(1, 99)}</cbc:InvoicedQuantity>
    <cbc:LineExtensionAmount currencyID="EUR">{amount}</cbc:LineExtensionAmount>
    <cac:Item>
      <cbc:Name>{text}</cbc:Name>
      <cac:ClassifiedTaxCategory>
        <cbc:ID>S</cbc:ID>
        <cbc:Percent>23</cbc:Percent>
        <cac:TaxScheme>
          <cbc:ID>VAT</cbc:ID>
        </cac:TaxScheme>
      </cac:ClassifiedTaxCategory>
    </cac:Item>
    <cac:Price>
      <cbc:PriceAmount currencyID="EUR">{amount}</cbc:PriceAmount>
    </cac:Price>
  </cac:InvoiceLine>
"""


def digests(documents: Sequence[bytes]) -> list[bytes]:
    """Ours."""
    made: list[bytes] = []
    for start in range(0, len(documents), BATCH):
        for one in digest_many([CanonicalTask(one) for one in documents[start : start + BATCH]]):
            assert isinstance(one, CanonicalForm), one
            made.append(one.digest)
    return made


def digests_by_lxml(documents: Sequence[bytes]) -> list[bytes]:
    made = []
    for document in documents:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, collect_ids=False)
        tree = etree.ElementTree(etree.fromstring(document, parser))
        out = io.BytesIO()
        tree.write_c14n(out, exclusive=True, with_comments=False)
        made.append(hashlib.sha256(out.getbuffer()).digest())
    return made


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def take_turns(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median CPU seconds of each contender, after a round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            if (spent := seconds(work)) and number > 0:
                taken[name].append(spent)
    return {name: statistics.median(spent) for name, spent in taken.items()}


def with_kernel(name: str, work: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        canonicaliser.use_kernels(name)
        try:
            return work()
        finally:
            canonicaliser.use_kernels()

    return run


def measure_size(size_bytes: int, documents: int, rounds: int) -> dict[str, float]:
    """Megabytes a second of lxml, of ours, and of ours with each instruction set."""
    invoices = [invoice(number, size_bytes) for number in range(documents)]
    megabytes = sum(map(len, invoices)) / 1e6
    if digests(invoices) != digests_by_lxml(invoices):
        raise RuntimeError("the digests differ")
    contenders: dict[str, Callable[[], object]] = {
        "lxml": lambda: digests_by_lxml(invoices),
        "ours": lambda: digests(invoices),
    }
    for name, _, supported, _ in canonicaliser.kernels():
        if supported:
            contenders[name] = with_kernel(name, lambda: digests(invoices))
    return {name: megabytes / spent for name, spent in take_turns(contenders, rounds).items()}


def measure_over_memcpy(size_bytes: int, documents: int, rounds: int) -> float:
    invoices = [invoice(number, size_bytes) for number in range(documents)]
    tasks = [CanonicalTask(one, digest_algorithm=None) for one in invoices]
    target = memoryview(bytearray(2 * size_bytes))

    def copy() -> None:
        for _ in range(COPIES):
            for one in invoices:
                target[: len(one)] = one

    spent = take_turns({"ours": lambda: digest_many(tasks), "memcpy": copy}, rounds)
    return spent["memcpy"] / COPIES / spent["ours"]


def measure(documents: int = 320, rounds: int = 7) -> dict[str, object]:
    """The figures, and the rates that they come from. There are `documents` of 20 KB and a tenth as many of 200 KB."""
    rates = {name: measure_size(size, max(1, documents * 20_000 // size), rounds) for name, size in SIZES.items()}
    return {
        **{f"c14n_{name}_over_lxml": rate["ours"] / rate["lxml"] for name, rate in rates.items()},
        "c14n_over_memcpy": measure_over_memcpy(SIZES["200k"], max(1, documents // 10), rounds),
        "mb_per_s": rates,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=320, help="of 20 KB; a tenth as many of 200 KB")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(json.dumps(measure(options.documents, options.rounds), indent=2))


if __name__ == "__main__":
    main()
