"""The complete product by a grid: for each pair of blocks one product of functions, and one analysis for all degrees.

Blocks of degrees l1 and l2 are functions F and G on the sphere. Reflected through the origin, ``F G`` takes the sign
``(-1)^(l1 + l2)`` and the bracket ``{F, G}`` the opposite one. So in the sum

    H = F G + {F, G} / sqrt(l1 (l1 + 1) l2 (l2 + 1))

the degrees l3 with even ``l1 + l2 + l3`` come from the product alone, and those with odd sum from the bracket alone:
one analysis of H has every path of the pair, times a number that is known, and never zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod, sqrt
from typing import NamedTuple

from tpnumba.plans.base import Operand
from tpnumba.plans.contraction import Contraction, Path
from tpnumba.plans.stages import Blocks, FourierStage, LegendreStage, LinearMap
from tpnumba.plans.transform import Transform
from tpnumba.products.degrees import product_grid
from tpnumba.tables.couplings import bracket_coupling, gaunt_coupling
from tpnumba.tables.quadrature import Grid

#: From the components of a function to its values, to those of its derivative by beta, and of that by alpha over
#: ``sin(beta)``: kinds of the Legendre and of the Fourier stage.
_FIELDS = (("value", "dense"), ("slope", "dense"), ("over_sine", "derivative"))
_VALUE, _SLOPE, _OVER_SINE = range(3)

Copy = tuple[int, int]  # of an input: its block, and the copy in it


def pair_coupling(l1: int, l2: int, l3: int) -> float:
    """The factor of ``C(l1, l2, l3)`` in the coefficients of degree ``l3`` of ``H``, for orthonormal harmonics.

    ``sqrt(prod(2 l_i + 1) / 4 pi)`` times the size of a 3j symbol of the three degrees: of the orders (0, 0, 0) if
    their sum is even, of (1, -1, 0) if it is odd. Positive wherever the triangle rule allows.

    Example:
        >>> [pair_coupling(2, 3, l3) > 0 for l3 in range(7)]
        [False, True, True, True, True, True, False]
    """
    if (l1 + l2 + l3) % 2 == 0:
        return gaunt_coupling(l1, l2, l3)
    coupling = bracket_coupling(l1, l2, l3)
    return coupling / _gradient_size(l1) / _gradient_size(l2) if coupling else 0.0


def _gradient_size(degree: int) -> float:
    """The root of the integral of ``|grad Y|^2`` over the sphere."""
    return sqrt(degree * (degree + 1))


class _Pair(NamedTuple):
    """The paths of a pair of blocks, by the degree of the output."""

    first: int
    second: int
    paths: tuple[Path, ...]

    @property
    def parities(self) -> set[int]:
        """Of the sums of the degrees of its paths."""
        return {sum(path.coupling.degrees) % 2 for path in self.paths}


def pairwise_grid_plan(form: Contraction) -> Transform:
    """The plan of a form with an output for every pair of copies, as that of ``FullTensorProduct``.

    All pairs share the grid of the largest sum of degrees, and the values of the inputs on it: three fields of a copy.
    """
    pairs = _pairs(form)
    grid = product_grid(max(sum(path.coupling.degrees) for path in form.paths))
    components: tuple[dict[tuple[Copy, int], int], ...] = ({}, {})
    maps: tuple[list[LinearMap], ...] = ([], [], [])
    terms: list[tuple[tuple[int, ...], float]] = []

    def field(i: int, copy: Copy, kind: int) -> int:
        """The component of input ``i``, made at its first use."""
        known = components[i]
        if (copy, kind) not in known:
            known[copy, kind] = len(maps[i])
            maps[i].append(_synthesis(form.operands[i], copy, kind, grid))
        return known[copy, kind]

    for pair in pairs:
        muls = [form.operands[i].segments[block].mul for i, block in enumerate((pair.first, pair.second))]
        for u in range(muls[0]):
            for v in range(muls[1]):
                copies = (pair.first, u), (pair.second, v)
                for kinds, factor in _meetings(pair):
                    met = (field(i, copy, kind) for i, (copy, kind) in enumerate(zip(copies, kinds, strict=True)))
                    terms.append(((*met, len(maps[2])), factor))
                maps[2].append(_analysis(form.operands[2], pair, u * muls[1] + v, grid))
    return Transform(form.operands, form.output, (tuple(maps[0]), tuple(maps[1]), tuple(maps[2])), tuple(terms), grid)


def _pairs(form: Contraction) -> list[_Pair]:
    found: dict[tuple[int, int], list[Path]] = {}
    for path in form.paths:
        first, second, out = path.segments
        assert first is not None
        assert second is not None
        assert out is not None
        assert path.channels == "u,v,uv"
        if prod(form.operands[i].segments[place].mul for i, place in ((0, first), (1, second))):
            found.setdefault((first, second), []).append(path)
    return [
        _Pair(*blocks, tuple(sorted(paths, key=lambda path: path.coupling.degrees[2])))
        for blocks, paths in found.items()
    ]


def _meetings(pair: _Pair) -> Iterator[tuple[tuple[int, int], float]]:
    """The terms of H that some path of the pair reads: the kinds of field that are multiplied, and the sign."""
    if 0 in pair.parities:
        yield (_VALUE, _VALUE), 1.0
    if 1 in pair.parities:
        yield (_SLOPE, _OVER_SINE), 1.0
        yield (_OVER_SINE, _SLOPE), -1.0


def _synthesis(operand: Operand, copy: Copy, kind: int, grid: Grid) -> LinearMap:
    """From one copy of a block to a field; derivatives are those of a function whose gradient has the norm 1."""
    degree = _degree(operand, copy[0])
    scale = 1.0 if kind == _VALUE else 1 / _gradient_size(degree)
    blocks = _blocks(operand, copy[1], {copy[0]: scale})
    return _on_grid(blocks, grid, *_FIELDS[kind])


def _analysis(operand: Operand, pair: _Pair, copy: int, grid: Grid) -> LinearMap:
    """Back from H to all paths of two copies (as a synthesis, whose transpose with the weights this is)."""
    scales = {}
    for path in pair.paths:
        l1, l2, l3 = path.coupling.degrees
        assert path.segments[2] is not None
        scales[path.segments[2]] = path.scale / pair_coupling(l1, l2, l3)
    return _on_grid(_blocks(operand, copy, scales), grid, "value", "dense")


def _blocks(operand: Operand, copy: int, scales: dict[int, float]) -> Blocks:
    """One copy of some segments, each times a factor."""
    interleaved = operand.layout == "ir_mul"
    segments = [operand.segments[place] for place in scales]
    (step,) = {segment.mul if interleaved else 1 for segment in segments}
    return Blocks(
        tuple(segment.offset + copy * (1 if interleaved else segment.dim) for segment in segments),
        tuple(_degree(operand, place) for place in scales),
        tuple(scales.values()),
        step,
        operand.size,
    )


def _on_grid(blocks: Blocks, grid: Grid, kind: str, longitudes: str) -> LinearMap:
    top = max(blocks.degrees)
    legendre = LegendreStage(blocks.degrees, top, grid.n_beta, kind)
    return LinearMap((blocks, legendre, FourierStage(top, grid.n_alpha, grid.n_beta, longitudes)))


def _degree(operand: Operand, segment: int) -> int:
    return operand.segments[segment].dim // 2
