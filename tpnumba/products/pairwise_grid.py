"""The complete product by a grid: for each pair of blocks one product of functions, and one analysis for all degrees.

Blocks of degrees l1 and l2 are functions F and G on the sphere. Reflected through the origin, ``F G`` takes the sign
``(-1)^(l1 + l2)`` and the bracket ``{F, G}`` the opposite one. So in the sum

    H = F G + {F, G} / sqrt(l1 (l1 + 1) l2 (l2 + 1))

the degrees l3 with even ``l1 + l2 + l3`` come from the product alone, and those with odd sum from the bracket alone:
one analysis of H has every path of the pair, times a number that is known, and never zero.
"""

from __future__ import annotations

from math import sqrt
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
    """A block of each input, and the paths between them, by the degree of the output."""

    blocks: tuple[int, int]
    paths: tuple[Path, ...]

    @property
    def meetings(self) -> list[tuple[tuple[int, int], float]]:
        """The terms of H that some path reads: the kinds of field that are multiplied, and the sign."""
        odd = {sum(path.coupling.degrees) % 2 for path in self.paths}
        found = []
        if 0 in odd:
            found.append(((_VALUE, _VALUE), 1.0))
        if 1 in odd:
            found += [((_SLOPE, _OVER_SINE), 1.0), ((_OVER_SINE, _SLOPE), -1.0)]
        return found


def pairwise_grid_plan(form: Contraction) -> Transform:
    """The plan of a form with an output for every pair of copies, as that of ``FullTensorProduct``.

    All pairs share the grid of the largest sum of degrees, and the values of the inputs on it: three fields of a copy.
    """
    pairs = _pairs(form)
    grid = product_grid(max(sum(path.coupling.degrees) for path in form.paths))
    fields = _fields(form, pairs, 0), _fields(form, pairs, 1)
    number = [{field: n for n, field in enumerate(own)} for own in fields]
    maps = [tuple(_synthesis(form.operands[i], *field, grid) for field in own) for i, own in enumerate(fields)]
    analyses: list[LinearMap] = []
    terms: list[tuple[tuple[int, ...], float]] = []
    for pair in pairs:
        copies1, copies2 = (_copies(form.operands[i], pair.blocks[i]) for i in (0, 1))
        for first in copies1:
            for second in copies2:
                for kinds, factor in pair.meetings:
                    met = number[0][first, kinds[0]], number[1][second, kinds[1]], len(analyses)
                    terms.append((met, factor))
                analyses.append(_analysis(form.operands[2], pair, first[1] * len(copies2) + second[1], grid))
    return Transform(form.operands, form.output, (maps[0], maps[1], tuple(analyses)), tuple(terms), grid)


def _fields(form: Contraction, pairs: list[_Pair], i: int) -> list[tuple[Copy, int]]:
    """The fields of an input that are read, as copies and kinds; those of a copy follow each other."""
    read = {(pair.blocks[i], kinds[i]) for pair in pairs for kinds, _ in pair.meetings}
    blocks = sorted({block for block, _ in read})
    copies = (copy for block in blocks for copy in _copies(form.operands[i], block))
    return [(copy, kind) for copy in copies for kind in range(len(_FIELDS)) if (copy[0], kind) in read]


def _copies(operand: Operand, block: int) -> list[Copy]:
    return [(block, copy) for copy in range(operand.segments[block].mul)]


def _pairs(form: Contraction) -> list[_Pair]:
    found: dict[tuple[int, int], list[Path]] = {}
    for path in form.paths:
        first, second, out = path.segments
        assert first is not None
        assert second is not None
        assert out is not None
        assert path.channels == "u,v,uv"
        found.setdefault((first, second), []).append(path)
    return [
        _Pair(blocks, tuple(sorted(paths, key=lambda path: path.coupling.degrees[2])))
        for blocks, paths in found.items()
    ]


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
