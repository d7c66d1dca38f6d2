"""Visible signatures are measured beside pyHanko's, and the judges take ours; how fast is for `make bench` to say."""

from benchmarks import visible_ratio
from harness.noise_image import noise_image
from harness.validators import judging


def test_smoke() -> None:
    with judging():
        result = visible_ratio.measure(4, 1)
    assert result["visible_over_invisible"] > 0 and result["appearance_first_ms"] > 0
    assert result["visible_over_pyhanko"] > 0
    assert len(set(result["judged"].values())) == 1


def test_the_image_has_the_size_that_it_should() -> None:
    assert 19_000 < len(noise_image()) < 21_000
