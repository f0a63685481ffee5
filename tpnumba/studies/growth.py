"""With which power of L work grows: by theory, and fitted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: The exponents of the operations a sample, to leading order in L and without logarithms, by configuration and method.
#: ``dense``: coupling coefficients as dense arrays. The method ``grid`` turns orders to longitudes by matrix products,
#: which is L^3 whatever the configuration is. The paper's ways: harmonics at all points of a grid as one matrix, direct
#: convolution, and matrices of ``(L + 1)^2`` rows.
THEORY: Mapping[str, Mapping[str, int]] = {
    "SISO": {"direct": 2, "dense": 3, "grid": 3, "fourier": 2, "matrix": 3}
    | {"dense (paper)": 3, "sparse (paper)": 2, "grid (paper)": 3, "fourier (paper)": 4, "matrix (paper)": 6},
    "SIMO": {"direct": 3, "dense": 4, "grid": 3, "fourier": 3, "matrix": 3}
    | {"dense (paper)": 4, "sparse (paper)": 3, "grid (paper)": 4, "fourier (paper)": 4, "matrix (paper)": 6},
    "MIMO": {"direct": 5, "dense": 6, "grid": 3, "fourier": 3, "matrix": 3}
    | {"dense (paper)": 6, "sparse (paper)": 5, "grid (paper)": 4, "fourier (paper)": 4, "matrix (paper)": 6},
}

#: Of the complete product by a grid, whose analyses are one a pair of degrees.
_COMPLETE_GRID = {"SISO": 3, "SIMO": 3, "MIMO": 5}


def theory(setting: str, product: str, method: str) -> int | None:
    """The exponent of a product by a method; None if none is known."""
    if (product, method) == ("Clebsch-Gordan", "grid"):
        return _COMPLETE_GRID[setting]
    return THEORY[setting].get(method)


def larger_degrees(degrees: list[int]) -> list[int]:
    """Those from half of the largest on: at smaller ones lower orders, and the cost of a call, weigh more."""
    return [L for L in sorted(degrees) if max(degrees) / 2 <= L]


def exponent(values: Mapping[int, float]) -> float | None:
    """The slope of log value against log L, fitted over the larger L; None if that is one L.

    Example:
        >>> round(exponent({L: 7.0 * L**3 for L in (1, 2, 4, 8)}), 12)
        3.0
    """
    fitted = larger_degrees(list(values)) if values else []
    if len(fitted) < 2:
        return None
    return float(np.polyfit(np.log(fitted), np.log([values[L] for L in fitted]), 1)[0])
