"""Visible signatures beside invisible ones and beside pyHanko: documents per CPU second of one core, with a fixed raw signature.

    python -m benchmarks.visible_ratio            medians of interleaved rounds
    python -m benchmarks.visible_ratio --judge    each output judged as well

Corpus A of `packaging_ratio.py`. The template is two lines of text with the signer's name and the date, and a PNG image of 20 KB.
pyHanko draws the same text in the same font, which it embeds as a subset, over the same image. `appearance_first_ms` is the wall
time from an original to its signed document for the first visible signature of a process, what has to be loaded included; the
process has signed an invisible one before.
"""

import asyncio
import io
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import on_its_own
from benchmarks.packagers import (
    CONTENTS_BYTES,
    LOCATION,
    REASON,
    Contender,
    RawSign,
    ours,
    raw_signer,
    sealer,
)
from benchmarks.packaging_ratio import corpus_a, judge, measure_corpus
from harness.noise_image import noise_image
from PIL import Image

from batchseal.document import Description
from batchseal.formats.appearance.font import FOLDER
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType
from batchseal.signature import LocationType, SignatureLook, SignaturePlace, VisibleSignature
from batchseal.visible.picture import read

ROUNDS = 5
WIDTH, HEIGHT = 250, 90
FIRST_RUNS = 5
VISIBLE, PYHANKO = "visible", "pyhanko, visible"


def description(template: str = r"Digitally signed by $certificate.getCommonName()\n$date") -> Description:
    look = SignatureLook(
        template, WIDTH, HEIGHT, background=0xEEF4FF, picture=read(noise_image(), "IMAGE_PNG", "image")
    )
    seen = VisibleSignature(SignaturePlace(LocationType.COORDINATE, 1, 140, 35), look)
    return Description("bench", "bench.pdf", ContentType.PDF, REASON, LOCATION, visible=True, visible_signature=seen)


def visible() -> Contender:
    return Contender(VISIBLE, sealer(Pades(), description()))


def pyhanko() -> Contender:
    from pyhanko.pdf_utils.font.api import FontEngineFactory
    from pyhanko.pdf_utils.font.opentype import GlyphAccumulator
    from pyhanko.pdf_utils.images import PdfImage
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.pdf_utils.text import TextBoxStyle
    from pyhanko.sign import PdfSignatureMetadata, PdfSigner
    from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
    from pyhanko.stamp import TextStampStyle

    meta = PdfSignatureMetadata(
        field_name="Signature1",
        md_algorithm="sha256",
        reason=REASON,
        location=LOCATION,
        subfilter=SigSeedSubFilter.PADES,
    )
    field = SigFieldSpec("Signature1", on_page=0, box=(140, 35, 140 + WIDTH, 35 + HEIGHT))
    font_file = (FOLDER / "LiberationSans-Regular.ttf").read_bytes()

    class InMemory(FontEngineFactory):
        """pyHanko's own opens the file for each document, and leaves it open."""

        def create_font_engine(self, writer: Any, obj_stream: Any = None) -> Any:
            if obj_stream is None and writer.stream_xrefs:
                obj_stream = writer.prepare_object_stream()
            return GlyphAccumulator(writer, io.BytesIO(font_file), font_size=10, obj_stream=obj_stream)

    style = TextStampStyle(
        stamp_text="Digitally signed by %(signer)s\n%(ts)s",
        text_box_style=TextBoxStyle(font=InMemory()),
        background=PdfImage(Image.open(io.BytesIO(noise_image()))),
        background_opacity=1,
    )

    async def seal_all(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        signer = PdfSigner(meta, raw_signer(sign), stamp_style=style, new_field_spec=field)
        out: list[Sequence[Any]] = []
        for document in documents:
            writer = IncrementalPdfFileWriter(io.BytesIO(document))
            signed = await signer.async_sign_pdf(writer, bytes_reserved=2 * CONTENTS_BYTES)
            out.append((signed.getbuffer(),))
        return out

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        return asyncio.run(seal_all(documents, sign))

    return Contender(PYHANKO, seal, share=0.02)


def first_ms() -> float:
    """One fresh process: it has read its request and has signed an invisible document, but has drawn nothing yet."""
    command = [sys.executable, "-m", "benchmarks.visible_first"]
    done = subprocess.run(command, input=noise_image(), capture_output=True, check=True, timeout=60)
    return float(done.stdout)


def measure(count: int = 200, rounds: int = ROUNDS, *, with_judges: bool = True) -> dict[str, Any]:
    """Figures by name, the rates, and what the judges say of ours."""
    documents = corpus_a(count)
    everyone = [ours(), visible(), pyhanko()]
    rates = measure_corpus(documents, rounds, everyone)
    invisible = rates[ours().name]
    result: dict[str, Any] = {
        "rates": rates,
        "visible_over_invisible": round(rates[VISIBLE] / invisible, 3),
        "appearance_first_ms": round(statistics.median(first_ms() for _ in range(FIRST_RUNS)), 1),
        "visible_over_pyhanko": round(rates[VISIBLE] / rates[PYHANKO], 1),
    }
    if with_judges:
        with tempfile.TemporaryDirectory(prefix="batchseal-visible-") as folder:
            counts = result["judged"] = judge(visible(), documents, Path(folder) / "ours")
        if any(found != counts["documents"] for found in counts.values()):
            raise RuntimeError(f"the figures are void, a judge refuses ours: {counts}")
    return result


if __name__ == "__main__":
    on_its_own.run(__doc__, measure, count=200, rounds=ROUNDS)
