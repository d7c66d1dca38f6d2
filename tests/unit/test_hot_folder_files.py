"""Names, renames that replace nothing, and what a file is by its content."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.invoices import invoice
from harness.xml_invoices import xml_invoice

from batchseal.entries import content, files, naming
from batchseal.entries.content import Content, FileSource, judge, type_of
from batchseal.entries.files import Seen, opened, opened_below, rename_new, walk
from batchseal.entries.publishing import Folder
from batchseal.entries.retention import prune
from batchseal.operation import ContentType

PDF, XML, OTHER = ContentType.PDF, ContentType.APPLICATION_XML, ContentType.OTHER


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fatura.pdf", ["fatura.pdf", "fatura (7).pdf", "fatura (7-2).pdf"]),
        ("README", ["README", "README (7)", "README (7-2)"]),
        ("a.b.c", ["a.b.c", "a.b (7).c", "a.b (7-2).c"]),
        ("no. 5 of the year 2026", ["no. 5 of the year 2026", "no. 5 of the year 2026 (7)"]),
        ("\udcff.pdf", ["\udcff.pdf", "\udcff (7).pdf"]),
    ],
)
def test_a_name_that_is_taken_gets_the_id_of_the_operation(name: str, expected: list[str]) -> None:
    found = naming.candidates(name, "7")
    assert [next(found) for _ in expected] == expected


@pytest.mark.parametrize("stem", ["x" * 251, "é" * 125, "\U0001f600" * 62, "\udce9" * 251])
def test_names_stay_within_what_linux_takes(stem: str) -> None:
    name = f"{stem}.pdf"
    found = naming.candidates(name, "123456789")
    for one in (next(found), next(found), naming.with_suffix(name, ".p7m"), naming.failure_name(name, "{name}.txt")):
        assert len(os.fsencode(one)) <= 255
        os.fsencode(one).decode("utf-8", "surrogateescape")
    assert naming.with_suffix(name, ".p7m").endswith(".p7m")
    assert naming.failure_name("f.pdf", "error-{name}.log") == "error-f.pdf.log"
    assert naming.is_failure_name("error-f (7).log", "error-{name}.log")
    assert not naming.is_failure_name("f.pdf", "{name}.txt")


def test_a_path_stays_within_what_a_key_may_have() -> None:
    assert naming.within("2026/11", "fatura.pdf", 1000) == ("2026/11", "fatura.pdf")
    for folder, name, kept in (("é" * 200, "x" * 700 + ".pdf", True), ("f" * 950, "x" * 70 + ".pdf", False)):
        found, short = naming.within(folder, name, 1000)
        assert found == (folder if kept else "") and short.endswith("x.pdf")
        for _, one in zip(range(3), naming.candidates(short, "9" * 19), strict=False):
            assert len(os.fsencode(f"{found}/{one}")) <= 1000


def test_what_is_shown_of_a_path_can_be_stored() -> None:
    assert naming.shown("a\udcffb\n\x1b[0m/ü", 99) == "a\ufffdb\ufffd\ufffd[0m/ü"
    assert naming.shown("x" * 300, 255) == "\u2026" + "x" * 254
    assert naming.plain('a:b*?"<>|\\c\udcff. ') == "a_b_______c_"
    assert naming.plain(". ") == "_"


# --- renames ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    with opened(tmp_path) as descriptor:
        yield descriptor


@pytest.mark.parametrize("known", ["rename", "link", "neither"])
def test_a_rename_replaces_nothing(known: str, folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if known != "rename":
        monkeypatch.setattr(files, "rename_by_kernel", lambda *_: errno.EINVAL)
    if known == "neither":

        def refused(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refused)
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    with pytest.raises(FileExistsError):
        rename_new(folder, "new", folder, "old")
    assert ((tmp_path / "new").read_text(), (tmp_path / "old").read_text()) == ("new", "old")
    rename_new(folder, "new", folder, "other")
    assert (tmp_path / "other").read_text() == "new"
    assert sorted(os.listdir(folder)) == ["old", "other"]


def test_a_rename_by_a_second_name_goes_on_where_it_was_cut_off(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "rename_by_kernel", lambda *_: errno.EINVAL)
    (tmp_path / "draft").write_text("result")
    (tmp_path / "named").hardlink_to(tmp_path / "draft")
    rename_new(folder, "draft", folder, "named")
    assert os.listdir(folder) == ["named"]
    assert (tmp_path / "named").read_text() == "result"


def test_no_link_is_followed(folder: int, tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "a.pdf").write_text("a")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "b.pdf").symlink_to("real/deep/a.pdf")
    os.mkfifo(tmp_path / "pipe.pdf")
    assert [one.path for one in walk(folder, lambda name: False)] == ["real/deep/a.pdf"]
    with pytest.raises(OSError), opened_below(folder, "link/deep"):  # noqa: PT011
        pass
    assert files.look_at(folder, "b.pdf") is None
    assert files.look_at(folder, "link/deep/a.pdf") is None
    assert files.look_at(folder, "real/deep/a.pdf") is not None


@pytest.mark.parametrize("path", ["../outside", "inside/../../outside", "inside/./deep", ".."])
def test_no_path_leads_out(path: str, tmp_path: Path) -> None:
    for name in ("outside", "folder/inside/deep"):
        (tmp_path / name).mkdir(parents=True)
    with opened(tmp_path / "folder") as folder, pytest.raises(OSError, match="leads out"), opened_below(folder, path):
        pass


def test_an_old_file_that_was_replaced_meanwhile_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pdf").write_text("old")
    (tmp_path / "b.pdf").write_text("old")
    found = walk

    def replaced(root: int, is_ignored: Callable[[str], bool]) -> list[Seen]:
        every = list(found(root, is_ignored))
        (tmp_path / "new").write_text("new, and longer")
        (tmp_path / "new").rename(tmp_path / "a.pdf")
        return every

    monkeypatch.setattr(files, "walk", replaced)
    in_a_week = (tmp_path / "a.pdf").stat().st_ctime + 7 * 86_400
    assert prune(Folder(tmp_path, 0o664), 3, in_a_week) == 1
    assert os.listdir(tmp_path) == ["a.pdf"]


# --- content ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"%PDF-1.7\n", "x", PDF),
        (b"\0\r\n%PDF-1.4", "x.xml", PDF),
        (b"<?xml version='1.0'?><a>%PDF-</a>", "x", XML),
        (b"\xef\xbb\xbf <a/>", "x", XML),
        ("\ufeff<a/>".encode("utf-16-le"), "x", XML),
        ("<a/>".encode("utf-16-be"), "x", XML),
        (b"<!DOCTYPE html><p>", "x.html", OTHER),
        (b"\n<HTML lang='pt'>", "x", OTHER),
        (b"<?xml version='1.0'?><html/>", "x", XML),
        (b"PK\x03\x04", "x.docx", OTHER),
        (b"nothing of a PDF", "x.PDF", PDF),
        (b"nothing of an XML", "x.xml", XML),
        (b"plain", "xml", XML),
        (b"plain", "x.txt", OTHER),
    ],
)
def test_the_type_is_told_from_the_content(head: bytes, name: str, expected: ContentType) -> None:
    assert type_of(head, name) is expected


def judged(path: Path, local: bool = True) -> Content:
    with opened(path, files.FILE) as descriptor:
        return judge(FileSource(descriptor, path.stat().st_size, local=local), path.name)


WHOLE = {
    "table.pdf": invoice(0, size_bytes=20_000),
    "stream.pdf": invoice(1, size_bytes=20_000),
    "invoice.xml": xml_invoice(1),
    "note.txt": b"plain",
    "archive.tar": b"x" + bytes(10_239),
    "wide.xml": "<?xml version='1.0' encoding='utf-16'?><a>é</a>".encode("utf-16"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_finished(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(WHOLE[name])
    assert judged(path).unfinished == ""


@pytest.mark.parametrize("name", ["table.pdf", "stream.pdf", "invoice.xml"])
def test_a_part_of_a_file_is_not(name: str, tmp_path: Path) -> None:
    path, whole = tmp_path / name, WHOLE[name].rstrip()
    for length in {1, 9, len(whole) // 3, len(whole) // 2, len(whole) - 40, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert judged(path).unfinished, f"{length} of {len(whole)} bytes"
        # The size is set first, as SMB does, and what is not there yet is zeros: as a hole, and as blocks.
        os.truncate(path, len(whole))
        assert judged(path).unfinished, f"{length} of {len(whole)} bytes, then a hole"
        path.write_bytes(whole[:length] + bytes(len(whole) - length + 64))
        assert judged(path).unfinished, f"{length} of {len(whole)} bytes, then zeros"


def test_a_file_of_another_kind_that_has_a_hole_is_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"x" * 5000)
    assert judged(path).unfinished == ""
    os.truncate(path, 1 << 20)
    assert "never written" in judged(path).unfinished
    path.write_bytes(bytes(1 << 20))
    assert "zeros" in judged(path).unfinished


def test_a_file_that_somebody_writes_is_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    with path.open("wb") as file:
        file.write(b"x" * 100)
        file.flush()
        assert "another program" in judged(path).unfinished
        assert judged(path, local=False).unfinished == "", "a network file system is not asked"
    assert judged(path).unfinished == ""


def test_a_linearized_pdf_says_how_long_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    first = b"%PDF-1.4\n1 0 obj <</Linearized 1 /L 5000>> endobj\nstartxref\n0\n%%EOF\n"
    path.write_bytes(first)
    assert "5000 bytes" in judged(path).unfinished
    path.write_bytes(first.replace(b"5000", b"0060"))
    assert judged(path).unfinished == ""


def test_a_broken_document_that_has_its_end_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_bytes(b"<a><b></a>")
    assert judged(path) == Content(XML)
    path.write_bytes(b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 1000 + b'"><!ENTITY c "' + b"&b;" * 1000 + b'">]><a>&c;</a>')
    assert judged(path) == Content(XML)


def test_nobody_keeps_a_lease_on_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("x")
    judged(path)
    path.open("a").close()  # would wait for the lease to be given back
    assert content.LOCAL_SYSTEMS
