"""Figures are kept for each family of processors."""

import json
from pathlib import Path

import pytest
from benchmarks import by_processor

CPUINFO = "processor\t: 0\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: any\n\nprocessor\t: 1\nmodel\t: 9\n"
OLDER, NEWER = {"commit": "a", "date": "2026-01-01"}, {"commit": "b", "date": "2026-01-02"}


@pytest.mark.parametrize(
    ("vendor", "number", "model", "name"),
    [
        ("AuthenticAMD", 25, 1, "Zen 3"),
        ("AuthenticAMD", 25, 17, "Zen 4"),
        ("AuthenticAMD", 26, 2, "Zen 5"),
        ("GenuineIntel", 6, 85, "Skylake"),
        ("GenuineIntel", 6, 79, "Broadwell"),
        ("GenuineIntel", 6, 183, "GenuineIntel 6/183"),
        ("HygonGenuine", 24, 0, "HygonGenuine 24/0"),
    ],
)
def test_a_family_is_named(tmp_path: Path, vendor: str, number: int, model: int, name: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO.format(vendor, number, model))
    assert by_processor.family(cpuinfo) == name


def test_no_model_is_in_two_families() -> None:
    for families in by_processor.FAMILIES.values():
        models = [model for _, models in families for model in models]
        assert len(models) == len(set(models))


def test_this_machine_has_a_family() -> None:
    assert by_processor.family()


def test_a_run_replaces_what_its_own_family_could_measure_and_nothing_else(tmp_path: Path) -> None:
    by_processor.keep(tmp_path, "Zen 5", {"sha256_avx512_over_openssl_shani": 3.5, "lt_over_t": 0.8}, OLDER)
    by_processor.keep(tmp_path, "Zen 3", {"lt_over_t": 0.7}, OLDER)
    newest = by_processor.keep(tmp_path, "Zen 5", {"lt_over_t": 0.9}, NEWER)
    assert newest == json.loads((tmp_path / by_processor.FILE).read_text())
    assert newest["Zen 3"] == {"lt_over_t": {"value": 0.7, **OLDER}}
    assert newest["Zen 5"]["lt_over_t"] == {"value": 0.9, **NEWER}
    assert newest["Zen 5"]["sha256_avx512_over_openssl_shani"] == {"value": 3.5, **OLDER}


def test_the_table_shows_the_families_side_by_side(tmp_path: Path) -> None:
    by_processor.keep(tmp_path, "Zen 5", {"sha256_avx512_over_openssl_shani": 3.5, "lt_over_t": 0.8}, OLDER)
    newest = by_processor.keep(tmp_path, "Zen 3", {"lt_over_t": 0.7}, NEWER)
    text = "\n".join(by_processor.lines(newest))
    assert "| figure | Zen 3 | Zen 5 |" in text
    assert "| `sha256_avx512_over_openssl_shani` | - | 3.5 (2026-01-01) |" in text
    assert "| `lt_over_t` | 0.7 (2026-01-02) | 0.8 (2026-01-01) |" in text
    assert not list(by_processor.lines({}))
