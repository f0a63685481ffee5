"""The paper's ways of computing the products: what they compute, by means of which none of them knows."""

from __future__ import annotations

from itertools import product as each

import numpy as np
import pytest
from strategies import tolerance

import tpnumba as tp
from tpnumba.studies.benchmark.paper import INEXACT, METHODS, operators, way
from tpnumba.studies.benchmark.paper_sphere import fourier_coefficients, integrals
from tpnumba.studies.registry import CONFIGURATIONS, PRODUCTS, Case
from tpnumba.tables.recoupling import wigner_6j

WAYS = [(product, method) for product, methods in METHODS.items() for method in methods]


def case_of(product: str, setting: str, lmax: int) -> Case:
    (configuration,) = (entry for entry in CONFIGURATIONS if entry.name == setting)
    (found,) = (entry for entry in PRODUCTS if entry.name == product)
    return Case(configuration, found.contender("direct"), lmax)


def arguments(sizes: tuple[int, int, int], n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, sizes[0])), rng.standard_normal((n, sizes[1]))


@pytest.mark.parametrize("setting", ["SISO", "SIMO", "MIMO"])
@pytest.mark.parametrize(("product", "method"), WAYS)
@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_results_are_those_of_the_product(product: str, method: str, setting: str, lmax: int) -> None:
    found = way(case_of(product, setting, lmax), method, "float64")
    x1, x2 = arguments(found.sizes, 300)  # more than are worked at a time
    result, wanted = found.call(x1, x2), found.reference(x1, x2)
    assert result.shape == wanted.shape == (300, found.sizes[2])
    bound = INEXACT if found.inexact else tolerance("float64", 2 * lmax, found.sizes[0] ** 2)
    largest = max(1.0, np.max(np.abs(wanted), initial=0.0))
    assert np.max(np.abs(result - wanted), initial=0.0) < bound * largest


def test_sums_over_angles_are_not_integrals() -> None:
    """The reason why the paper's Fourier product has a tolerance: its error is far beyond rounding."""
    found = way(case_of("Gaunt", "MIMO", 3), "fourier", "float64")
    x1, x2 = arguments(found.sizes)
    assert np.max(np.abs(found.call(x1, x2) - found.reference(x1, x2))) > 1e-7


def test_fourier_coefficients_give_the_function_back() -> None:
    table = fourier_coefficients((0, 1, 2))
    orders = np.arange(-2, 3)
    rng = np.random.default_rng(0)
    for theta, phi in rng.uniform(0, np.pi, (4, 2)):
        point = np.array([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)])
        waves = np.exp(1j * (theta * orders[:, None] + phi * orders))
        values = np.sum(table * waves, axis=(1, 2))
        np.testing.assert_allclose(values, tp.SphericalHarmonics(2)(point), atol=1e-13)


def test_integrals_of_constants_are_those_of_harmonics() -> None:
    constant = integrals((0, 1), 1)[:, 1, 1]  # u = v = 0: the integral of Y_lm itself
    np.testing.assert_allclose(constant, [np.sqrt(4 * np.pi), 0, 0, 0], atol=1e-4)


@pytest.mark.parametrize("lmax", [1, 2])
def test_operators_on_all_irreps_couple_by_sums_of_6j(lmax: int) -> None:
    """Block (a, b) of X times block (b, c) of Y, read as degree l3, is a 6j symbol times the Clebsch-Gordan path."""
    found = way(case_of("matrix", "MIMO", lmax), "matrix", "float64")
    x1, x2 = arguments(found.sizes)
    irreps = tp.Irreps([(1, tp.Irrep(degree, 1)) for degree in range(lmax + 1)])
    wanted = np.zeros((len(x1), found.sizes[2]))
    for l1, l2 in each(range(lmax + 1), repeat=2):
        x, y = x1[:, irreps.slices()[l1]], x2[:, irreps.slices()[l2]]
        for l3 in range(abs(l1 - l2), l1 + l2 + 1):
            weight = sum(
                (-1) ** (a + c + l3) * wigner_6j(l1, l2, l3, c, a, b) for a, b, c in each(range(lmax + 1), repeat=3)
            )
            table = tp.clebsch_gordan(l1, l2, l3)
            wanted[:, l3**2 : (l3 + 1) ** 2] += weight * np.einsum("ni,nj,ijk->nk", x, y, table)
    bound = tolerance("float64", 2 * lmax, found.sizes[0] ** 2)
    np.testing.assert_allclose(found.call(x1, x2), wanted, atol=bound * np.max(np.abs(wanted)))


def test_operators_on_all_irreps_are_complete() -> None:
    """With a weight for every block (a, b) of a degree, as many maps as Clebsch-Gordan reaches."""
    lmax = 1
    slots = [(a, b, l0) for a, b in each(range(lmax + 1), repeat=2) for l0 in range(abs(a - b), min(a + b, lmax) + 1)]
    outs = [(a, b, l0) for a, b in each(range(lmax + 1), repeat=2) for l0 in range(abs(a - b), a + b + 1)]
    terms = []
    for (i, (a, b, l1)), (j, (b2, c, l2)), (k, (a3, c3, l3)) in each(
        enumerate(slots), enumerate(slots), enumerate(outs)
    ):
        value = wigner_6j(l1, l2, l3, c, a, b) if (b, a, c) == (b2, a3, c3) else 0.0
        if value:
            terms.append((i, j, k, (l1, l2, l3), (-1) ** (a + c + l3) * value))
    maps = sorted({triple for *_, triple, _ in terms})
    rng = np.random.default_rng(0)
    left, right, read = (rng.standard_normal(len(x)) for x in (slots, slots, outs))
    jacobian = np.zeros((len(slots) * 2 + len(outs), len(maps)))
    for i, j, k, triple, value in terms:
        column = maps.index(triple)
        jacobian[i, column] += value * right[j] * read[k]
        jacobian[len(slots) + j, column] += value * left[i] * read[k]
        jacobian[2 * len(slots) + k, column] += value * left[i] * right[j]
    degrees = tp.Irreps.spherical_harmonics(lmax)
    assert np.linalg.matrix_rank(jacobian) == tp.expressivity(tp.FullTensorProduct(degrees, degrees))


def test_operators_are_orthogonal() -> None:
    table = operators((0, 1, 2), 1)
    gram = table @ table.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-14)


@pytest.mark.parametrize("lmax", [1, 3])
def test_flops_are_those_of_matrices_and_points(lmax: int) -> None:
    rings = 2 * lmax + 1
    points, size, out = rings * 2 * rings, (lmax + 1) ** 2, (2 * lmax + 1) ** 2
    assert way(case_of("Gaunt", "MIMO", lmax), "grid", "float32").flops == 2 * points * (2 * size + out) + points
    operations = 2 * (2 * size + out) * size**2 + 2 * size**3
    assert way(case_of("matrix", "MIMO", lmax), "matrix", "float32").flops == operations
    convolution = 8 * (2 * lmax + 1) ** 4
    fourier = way(case_of("Gaunt", "MIMO", lmax), "fourier", "float32").flops
    # Conversions touch the waves v = m and v = -m alone; every second u of the inputs is zero.
    assert convolution < fourier < convolution + 4 * 2 * (4 * lmax + 1) * (2 * size + out)
