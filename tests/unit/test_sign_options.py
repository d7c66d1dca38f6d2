"""What `batchseal sign` asks of the service for signatures that are seen, and for evidence records."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.pictures import picture_bytes
from tests.unit import service_double as double

from batchseal import cli
from batchseal.client.batch import BatchBody, Document, UniqueNames, Wishes, find_documents, split_batches
from batchseal.intake.schema import VisibleInfo
from batchseal.signature import LocationType, SignatureLook, VisibleDefaults, VisibleTexts
from batchseal.visible.parsing import KEYS, VisibleReader

SERVICE = VisibleTexts(
    one_off_template="Of the service",
    location_type="COORDINATE",
    location_value="page=2,x=1,y=2",
    area="width=9,height=9",
)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("BATCHSEAL_SECRET", "s")
    running = double.ServiceDouble()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.pdf", "b.xml", "c.bin"):
        (tmp_path / name).write_bytes(name.encode() * 9)
    return tmp_path


def sign(service: Any, folder: Path, *arguments: str, names: tuple[str, ...] = ("a.pdf", "b.xml", "c.bin")) -> int:
    paths = [str(folder / name) for name in names]
    flags = ("--url", service.url, "--client-id", "i", "--out", str(folder / "out"))
    return cli.main(["sign", *paths, *flags, *arguments])


def asked(service: Any) -> list[dict[str, Any] | None]:
    """The `visibleSignatureInfo` of each document of the last batch."""
    documents = list(service.operations.values())[-1]["documents"]
    return [document["signatureInfo"].get("visibleSignatureInfo") for document in documents]


def read(info: dict[str, str], defaults: VisibleDefaults | None = None) -> Any:
    """What the service makes of the attributes."""
    texts = {name: info[key] for key, name in KEYS.items() if key in info}
    assert set(info) <= set(KEYS) and set(KEYS.values()) <= set(VisibleInfo.__struct_fields__)
    return VisibleReader(defaults or VisibleDefaults()).read(VisibleTexts(**texts), "visibleSignatureInfo")


@pytest.mark.parametrize(
    ("flag", "value", "kind"),
    [
        ("--visible-at", "page=3,x=140,y=35", LocationType.COORDINATE),
        ("--visible-field", "form.seal", LocationType.SIGN_FIELD),
        ("--visible-word", "##HERE##", LocationType.PLACEHOLDER),
    ],
)
def test_each_place_is_one_that_the_service_takes(
    service: Any, folder: Path, flag: str, value: str, kind: LocationType
) -> None:
    (folder / "logo.png").write_bytes(content := picture_bytes("PNG", "RGBA", (20, 10)))
    look = ("--visible-text", r"Selado por $certificate.commonName\n$date", "--visible-area", "width=100,height=40")
    more = ("--visible-background", "#FFF0C0", "--visible-font", "size=9,name=times")
    assert sign(service, folder, flag, value, *look, *more, "--visible-image", str(folder / "logo.png")) == 0
    visible, *others = asked(service)
    # Files of other types have nothing to draw on.
    assert others == [None, None]
    assert visible is not None and base64.b64decode(visible["imageValue"]) == content
    found = read(visible)
    assert found.place.kind is kind
    expected = SignatureLook(
        r"Selado por $certificate.commonName\n$date",
        100,
        40,
        font_size=9,
        font_name="times",
        background=0xFFF0C0,
        picture=found.look.picture,
        picture_scale=found.look.picture_scale,
    )
    assert found.look == expected


def test_what_is_left_out_is_left_to_the_service(service: Any, folder: Path) -> None:
    assert sign(service, folder, "--visible") == 0
    (visible, *_) = asked(service)
    assert visible == {}
    found = read(visible, VisibleDefaults(service=SERVICE))
    assert (found.place.page, found.look.template) == (2, "Of the service")
    assert sign(service, folder, "--visible-at", "page=1,x=1,y=1", "--visible-area", "width=70,height=7") == 0
    (visible, *_) = asked(service)
    assert visible is not None and "templateType" not in visible
    found = read(visible, VisibleDefaults(service=SERVICE))
    assert (found.place.page, found.look.template, found.look.width) == (1, "Of the service", 70)
    assert sign(service, folder) == 0
    assert asked(service) == [None, None, None]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--visible-text", "x"), "the place of the visible signature is missing (--visible-at"),
        (("--visible-at", "page=1,x=1,y=1", "--visible-image", "/nowhere/logo.png"), "--visible-image: "),
        (("--visible-at", "page=1,x=1,y=1", "--visible-word", "x"), "not allowed with argument"),
    ],
)
def test_wrong_use_is_told_before_anything_is_sent(
    service: Any, folder: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = sign(service, folder, *arguments)
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    assert code == 2
    assert said in capsys.readouterr().err
    assert not service.seen


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["sign", "--help"])
    said = capsys.readouterr().out
    for name in ("", "-at", "-field", "-word", "-text", "-area", "-background", "-font", "-image"):
        assert f"--visible{name} " in said or f"--visible{name}\n" in said
    assert "--evidence-record" in said and "--evidence-wait" in said


def test_an_image_in_every_document_is_never_there_as_often_at_once(folder: Path) -> None:
    """And it counts for the size of a batch."""
    image = "A" * 100_000
    wishes = Wishes(visible={"imageValue": image})
    documents = find_documents([folder / "a.pdf"]) * 50
    body = BatchBody(documents, "r", "d", wishes)
    pieces = iter(body)
    assert len(next(pieces)) < 1_000
    whole = b"".join(body)
    assert len(whole) == body.total_bytes
    assert all(
        one["signatureInfo"]["visibleSignatureInfo"]["imageValue"] == image for one in json.loads(whole)["documents"]
    )
    assert [len(one) for one in split_batches(documents, max_bytes=1_000_000, bytes_each=wishes.bytes_each)] == [
        9
    ] * 5 + [5]


# --- evidence records -------------------------------------------------------------------------------------------------


def stored(folder: Path) -> set[str]:
    return {path.name for path in (folder / "out").iterdir()}


def test_records_come_with_the_files_or_after_them(service: Any, folder: Path) -> None:
    names = ("a.pdf", "b.xml")
    service.records_in_archive = True
    assert sign(service, folder, "--evidence-record", names=names) == 0
    assert stored(folder) == {"a.pdf", "a.pdf.ers", "b.xml", "b.xml.ers"}
    method, path, _ = service.seen[0]
    assert (method, path.endswith("?evidenceRecord=true")) == ("POST", True)
    for record in (folder / "out").glob("*.ers"):
        record.unlink()
    service.records_in_archive, service.record_replies = False, {0: [409, 409]}
    assert sign(service, folder, "--evidence-record", names=names) == 0
    assert stored(folder) == {"a.pdf", "a.pdf.ers", "b.xml", "b.xml.ers"}
    assert (folder / "out" / "a.pdf.ers").read_bytes() == double.RECORD


@pytest.mark.parametrize(("replies", "missing"), [({0: [410]}, 2), ({0: [404]}, 1), ({0: [409] * 99}, 2)])
def test_a_record_that_does_not_come_is_told(
    service: Any, folder: Path, replies: dict[int, list[int]], missing: int, capsys: pytest.CaptureFixture[str]
) -> None:
    service.record_replies = replies
    (folder / "out").mkdir()
    (folder / "out" / "a.pdf.ers").write_bytes(b"of an earlier file")
    assert sign(service, folder, "--evidence-record", "--evidence-wait", "0", names=("a.pdf", "b.xml")) == 1
    assert f"{missing} signed files have no evidence record: the service answered" in capsys.readouterr().out
    assert {"a.pdf", "b.xml"} <= stored(folder)
    assert "a.pdf.ers" not in stored(folder)


def test_no_record_is_asked_for_by_itself(service: Any, folder: Path) -> None:
    assert sign(service, folder) == 0
    assert not any("evidenceRecord" in path for _, path, _ in service.seen)


# --- names ------------------------------------------------------------------------------------------------------------


def test_many_equal_names_take_no_more_than_few() -> None:
    """A name is tried once for each file, whatever numbers stand in the way."""
    tried = 0

    class Taken(set[str]):
        def __contains__(self, name: object) -> bool:
            nonlocal tried
            tried += 1
            return super().__contains__(name)

    names = UniqueNames(Taken())
    files = [Path(f"{number}/a.pdf") for number in range(2_000)] + [Path(f"a-{number}.pdf") for number in range(2_000)]
    found = [names.of(file) for file in files]
    assert len(set(found)) == len(files)
    assert tried < 4 * len(files)
    assert Document(files[0], found[0], 1).name == "a.pdf"
