"""What repeated measurements say."""

import pytest

from bench.figures import ratios, summary, text


def test_median_and_interval():
    """Of five values the outermost hold the median with 93.75 %; of nine the second from each end do with 96 %."""
    five = summary([5, 1, 3, 2, 4])
    assert (five.median, five.low, five.high, five.confidence) == (3, 1, 5, 0.9375)
    nine = summary(range(9))
    assert (nine.median, nine.low, nine.high) == (4, 1, 7)
    assert nine.confidence == pytest.approx(0.961, abs=1e-3)


def test_few_values():
    """One value is sure of nothing; none is an error."""
    assert summary([7]).confidence == 0
    with pytest.raises(ValueError, match="nothing was measured"):
        summary([])


def test_ratios():
    """Each repetition has its own; nothing is divided by nothing."""
    assert ratios([2, 4, 6], [1, 0, 3, 9]) == [2, 2]


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (0.04567, "0.0457"), (1.234, "1.23"), (56.78, "56.8"), (12345.6, "12,346")],
)
def test_text(value, written):
    """Three digits that count, without an exponent."""
    assert text(value) == written
