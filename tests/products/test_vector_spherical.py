"""The vector spherical product multiplies vector fields on the sphere point by point."""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
import pytest
from harmonics_of_libraries import directions
from strategies import random_arguments, tolerance

import tpnumba as tp

METHODS = ["direct", "grid"]


def field(lmax, points, vector="1o"):
    """Values (blocks' components, points, 3) of all Y_jlm, by dense coefficients, in the order of the irreps."""
    values = tp.SphericalHarmonics(lmax)(points)
    blocks = sorted((ir, l) for l in range(lmax + 1) for ir in tp.Irrep(l, (-1) ** l) * tp.Irrep(vector))  # noqa: E741
    parts = []
    for ir, degree in blocks:
        table = sqrt(2 * ir.l + 1) * tp.clebsch_gordan(degree, 1, ir.l)
        parts.append(np.einsum("na,abm->mnb", values[:, degree**2 : (degree + 1) ** 2], table))
    return np.concatenate(parts), tp.Irreps([(1, ir) for ir, _ in blocks])


@pytest.mark.parametrize("kind", ["cross", "dot"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degrees", [(0, 0), (1, 2), (2, 2), (3, 1)])
def test_product_of_fields_point_by_point(kind, method, degrees):
    p = tp.VectorSphericalTensorProduct(*degrees, kind=kind, method=method)
    points = directions(10)
    x, y = random_arguments(p, (4,), (4,))
    fields, irreps = zip(*(field(degree, points) for degree in degrees), strict=True)
    assert (p.irreps_in1, p.irreps_in2) == irreps
    assert p.irreps_in1.dim == 3 * (degrees[0] + 1) ** 2
    f, g = (np.einsum("zm,mnb->znb", a, b) for a, b in zip((x, y), fields, strict=True))
    size = np.max(np.linalg.norm(f, axis=-1)) * np.max(np.linalg.norm(g, axis=-1)) * 10
    atol = size * tolerance("float64", sum(degrees), 100)
    if kind == "cross":
        basis, irreps_out = field(sum(degrees), points, "1e")
        found = np.einsum("zm,mnb->znb", p(x, y), basis)
        np.testing.assert_allclose(found, np.cross(f, g), rtol=0, atol=atol)
    else:
        irreps_out = tp.Irreps.spherical_harmonics(sum(degrees))
        values = tp.SphericalHarmonics(sum(degrees))(points)
        np.testing.assert_allclose(p(x, y) @ values.T, np.sum(f * g, axis=-1), rtol=0, atol=atol)
    assert p.irreps_out == irreps_out


def test_local_frame():
    """Y_{j,j+1}, Y_{j,j-1} and Y_{j,j} from the radial and the tangential directions of Y_j."""
    points = directions(8)
    values, irreps = field(4, points)
    blocks = sorted((ir, l) for l in range(5) for ir in tp.Irrep(l, (-1) ** l) * tp.Irrep("1o"))  # noqa: E741
    assert irreps == tp.Irreps([(1, ir) for ir, _ in blocks])
    slices = {(ir.l, degree): where for (ir, degree), where in zip(blocks, irreps.slices(), strict=True)}
    for j in range(1, 4):
        harmonics = tp.SphericalHarmonics(j)
        y = harmonics(points)[:, j**2 :]
        gradient = np.stack(
            [harmonics.vjp(points, np.tile(np.eye((j + 1) ** 2)[j**2 + m], (8, 1))) for m in range(2 * j + 1)]
        )
        radial = np.einsum("nm,nb->mnb", y, points)
        curl = np.cross(points[None], gradient)
        expected = {
            j + 1: sqrt((j + 1) / (2 * j + 1)) * radial - gradient / sqrt((j + 1) * (2 * j + 1)),
            j - 1: sqrt(j / (2 * j + 1)) * radial + gradient / sqrt(j * (2 * j + 1)),
            j: -curl / sqrt(j * (j + 1)),
        }
        for degree, frame in expected.items():
            found = values[slices[j, degree]]
            np.testing.assert_allclose(found, frame, rtol=0, atol=tolerance("float64", j**2, 10) * (2 * j + 1))


def test_constant_fields_are_vectors():
    x, y = np.random.default_rng(0).standard_normal((2, 5, 3))
    cross = tp.VectorSphericalTensorProduct(0, 0)
    dot = tp.VectorSphericalTensorProduct(0, 0, kind="dot")
    # a constant field of unit coefficient has the length 1 / sqrt(4 pi)
    limit = tolerance("float64", 1, 3) * 10
    np.testing.assert_allclose(cross(x, y) * sqrt(4 * pi), np.cross(x, y), rtol=0, atol=limit)
    np.testing.assert_allclose(dot(x, y)[:, 0] * sqrt(4 * pi), np.sum(x * y, axis=-1), rtol=0, atol=limit)


def test_interactable_triples():
    """Cross: all that obey the triangle rule but (0, 0, 0); dot: all."""
    top = 4
    triples = {
        (a, b, c) for a in range(top + 1) for b in range(top + 1) for c in range(top + 1) if abs(a - b) <= c <= a + b
    }
    js = {"j1": range(top + 1), "j2": range(top + 1), "j_out": range(top + 1)}
    cross = tp.VectorSphericalTensorProduct(top + 1, top + 1, top + 1, **js)
    assert tp.interactability(cross) == triples - {(0, 0, 0)}
    dot = tp.VectorSphericalTensorProduct(top + 1, top + 1, top, kind="dot", **js)
    assert tp.interactability(dot) == triples


def test_blocks_may_be_left_out():
    whole = tp.VectorSphericalTensorProduct(2, 2, method="direct")
    x, y = random_arguments(whole, (3,), (3,))
    for method in METHODS:
        part = tp.VectorSphericalTensorProduct(2, 2, 3, method=method, j1=[1, 2], j2=[0, 3], j_out=[2])
        assert set(part.irreps_in1.ls) == {1, 2}
        assert set(part.irreps_in2.ls) == {0, 3}
        assert set(part.irreps_out.ls) == {2}
        masks = [
            np.concatenate([np.full(block.dim, block.ir.l in js) for block in irreps])
            for irreps, js in ((whole.irreps_in1, (1, 2)), (whole.irreps_in2, (0, 3)))
        ]
        # the output keeps l <= 3 as well: of the three blocks of j = 2 in an output up to l = 4 that is all
        chosen = np.concatenate([np.full(block.dim, block.ir.l == 2) for block in whole.irreps_out])
        expected = whole(x * masks[0], y * masks[1])[:, chosen]
        found = part(x[:, masks[0]], y[:, masks[1]])
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance("float64", 4, 1000) * 10)


@pytest.mark.parametrize("kind", ["cross", "dot"])
@pytest.mark.parametrize(("method", "exponent"), [("grid", 3), ("direct", 5)])
def test_growth_of_the_operation_count(kind, method, exponent):
    flops = [tp.VectorSphericalTensorProduct(L, L, L, kind=kind, method=method).cost().flops for L in (4, 8)]
    assert exponent - 1.5 < log(flops[1] / flops[0], 2) < exponent + 0.3


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (ValueError, lambda: tp.VectorSphericalTensorProduct(1, 1, kind="outer"), "kind must be one of cross, dot"),
        (ValueError, lambda: tp.VectorSphericalTensorProduct(1, 1, method="fourier"), "method must be one of auto"),
        (ValueError, lambda: tp.VectorSphericalTensorProduct("1e", 1), r"lmax1 must have the parity \(-1\)\^l"),
        (TypeError, lambda: tp.VectorSphericalTensorProduct(1, 1, j1=2), "j1 must be a list of degrees or None, got 2"),
        (ValueError, lambda: tp.VectorSphericalTensorProduct(1, 1, j2=[-1]), "an item of j2 .* got -1"),
    ],
)
def test_bad_arguments(error, make, message):
    with pytest.raises(error, match=message):
        make()
