"""Counts and times of the complete product by coefficients and by a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.complete import count, direct_by_rule, exponent, main, measure, product


@pytest.mark.parametrize("lmax", [1, 3, 5])
def test_counts_are_those_of_the_plans(lmax: int) -> None:
    found = count(lmax)
    assert (found.direct, found.grid) == tuple(product(lmax, method).cost().flops for method in ("direct", "grid"))
    assert found.free < found.legendre <= found.fourier <= found.grid


def test_the_rule_counts_every_coefficient_and_few_more() -> None:
    for lmax in (1, 4, 8):
        exact = count(lmax).direct
        assert exact <= direct_by_rule(lmax) <= 1.03 * exact
        assert count(lmax, by_rule=True).direct == direct_by_rule(lmax)


def test_exponents_are_fitted_over_the_larger_half() -> None:
    lmaxes = list(range(1, 13))
    numbers = [7.0 * L**5 if L >= 6 else 1.0 for L in lmaxes]
    assert exponent(lmaxes, numbers) == pytest.approx(5, rel=1e-9)


def test_the_grid_grows_as_said() -> None:
    """To leading order with the fifth power; what would be left of it with a free Legendre stage, with the fourth."""
    lmaxes = [8, 12, 16]
    lines = np.array([count(L, by_rule=True) for L in lmaxes]).T
    direct, grid, fourier, legendre, free = (exponent(lmaxes, line) for line in lines)
    assert 4.3 < grid < 5
    assert 4.4 < direct < 5
    assert free < min(legendre, fourier) < grid
    assert 3.5 < free < 4.2


def test_a_measurement_is_checked() -> None:
    found = measure(2, "float32")
    assert found.direct > 0
    assert found.grid > 0
    assert 0 < found.error < 1e-5


def test_the_command_writes_its_tables(tmp_path: Path) -> None:
    counts, times = tmp_path / "complete-counts.md", tmp_path / "complete-times.md"
    main(["--counted", "3", "--far", "4", "--timed", "--folder", str(tmp_path)])
    assert not times.exists()
    text = counts.read_text(encoding="utf-8")
    assert f"| 2 | {count(2).direct:,} |" in text
    assert f"| 4 | {direct_by_rule(4):,} |" in text
    assert "exponent to 3" in text
    assert "exponent to 4" in text
    counts.unlink()
    main(["--counted", "0", "--timed", "1", "2", "--folder", str(tmp_path)])
    assert not counts.exists()
    text = times.read_text(encoding="utf-8")
    assert "| 1 | float64 |" in text
    assert "times grow with the powers" in text
    with pytest.raises(ValueError, match="--folder"):
        main(["--folder", str(times)])
