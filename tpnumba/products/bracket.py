"""The bracket tensor product: the antisymmetric half of the Gaunt product; and both halves together."""

from __future__ import annotations

from typing import Any

from tpnumba.plans.stages import LinearMap, Selection, synthesis
from tpnumba.plans.transform import Transform
from tpnumba.products.degrees import (
    NATURAL,
    UNNATURAL,
    degrees_of,
    highest_degrees,
    make_operands,
    product_grid,
)
from tpnumba.products.sphere import FunctionProduct, IrrepsTriple, Plans, Variant
from tpnumba.tables.couplings import bracket_coupling, gaunt_coupling
from tpnumba.tables.quadrature import Grid

#: ``{F, G} = F_beta G_alpha - F_alpha G_beta``, components numbered (beta, alpha).
_TERMS = (((0, 1, 0), 1.0), ((1, 0, 0), -1.0))


class BracketTensorProduct(FunctionProduct):
    """Poisson bracket of functions on the sphere: ``{F, G}(r) = <r, grad F x grad G>``, expanded to ``lmax_out``.

    Couples exactly the degrees with odd ``l1 + l2 + l3``, which the Gaunt product cannot; every such path has a number
    that is not zero (``couplings.bracket_coupling``). The result has the parity ``-(-1)^l``: it sees handedness.
    Together the two are complete, at O(L^3).

    Args:
        lmax1, lmax2: the largest degree of each input, or irreps of multiplicity 1 with each degree at most once and
            parity ``(-1)^l``. Channels go on leading axes.
        lmax_out: likewise for the output, with parity ``-(-1)^l``; by default ``lmax1 + lmax2 - 1``, the last degree
            that is not zero. The component of degree 0 is there, and zero.
        method: ``direct`` (sparse coefficients, O(L^5)), ``grid`` (gradients on a Gauss-Legendre grid, separable,
            O(L^3)) or ``auto`` (the quicker one, see ``repr``). Both give the same numbers to rounding.
        normalization: of the harmonics that both inputs and the output are expanded in: ``integral``, ``component`` or
            ``norm``.

    Raises:
        TypeError, ValueError: degrees, irreps or names that are malformed.

    Example:
        >>> import numpy as np
        >>> p = BracketTensorProduct(1, 1, normalization="norm")  # coordinates: {x, y} = z and so on
        >>> p(np.array([0.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, 0.0])).round(12) + 0.0
        array([0., 0., 0., 1.])
    """

    METHODS = ("direct", "grid")
    VARIANTS = (Variant("bracket", "bracket"),)
    COUPLINGS = (bracket_coupling,)

    @classmethod
    def parities(cls, **_: Any) -> tuple[str, str]:
        """Of functions, and of pseudo-functions."""
        return NATURAL, UNNATURAL

    @classmethod
    def _default_lmax_out(cls, lmax1: int, lmax2: int) -> int:
        return max(lmax1 + lmax2 - 1, 0)

    @classmethod
    def _plans(cls, irreps: IrrepsTriple, normalization: str) -> Plans:
        return {"grid": lambda: _grid_plan(irreps, normalization)}


def _gradient(degrees: tuple[int, ...], highest: int, grid: Grid, normalization: str) -> tuple[LinearMap, LinearMap]:
    """The two components of the gradient on the sphere: ``d / d beta`` and ``1 / sin(beta) d / d alpha``."""
    return (
        synthesis(degrees, highest, grid, normalization, output=False, kind="slope"),
        synthesis(degrees, highest, grid, normalization, output=False, kind="over_sine", longitudes="derivative"),
    )


def _grid_plan(irreps: IrrepsTriple, normalization: str) -> Transform:
    """Gradients on the smallest grid that integrates the bracket with the output's harmonics without error."""
    highest = highest_degrees(irreps, slack=1)
    total = sum(highest)
    grid = product_grid(total - 1, (total + 1) // 2)
    in1, in2, out = (degrees_of(block) for block in irreps)
    maps = (
        _gradient(in1, highest[0], grid, normalization),
        _gradient(in2, highest[1], grid, normalization),
        (synthesis(out, highest[2], grid, normalization, output=True),),
    )
    return Transform(make_operands(irreps), 2, maps, _TERMS, grid)


class GauntBracketTensorProduct(FunctionProduct):
    """The Gaunt product and the bracket of the same two functions, side by side: complete, at O(L^3).

    The output holds the Gaunt product (degrees 0 to ``lmax_out``, parity ``(-1)^l``), then the bracket (the same
    degrees, parity ``-(-1)^l``), so it couples every triple of degrees, each through a fixed number. On the grid the
    two share their work: 3 + 3 + 2 transforms.

    Args:
        lmax1, lmax2, method, normalization: as for :class:`BracketTensorProduct`.
        lmax_out: the largest degree of both parts; by default ``lmax1 + lmax2``.

    Raises:
        TypeError, ValueError: degrees, irreps or names that are malformed.

    Example:
        >>> import tpnumba as tp
        >>> p = GauntBracketTensorProduct(1, 1)
        >>> p.irreps_out, len(p.paths)
        (1x0e+1x1o+1x2e+1x0o+1x1e+1x2o, 6)
    """

    METHODS = ("direct", "grid")
    VARIANTS = (Variant("Gaunt + bracket", "gaunt-bracket"),)
    COUPLINGS = (gaunt_coupling, bracket_coupling)

    @classmethod
    def _plans(cls, irreps: IrrepsTriple, normalization: str) -> Plans:
        return {"grid": lambda: _both_on_grid(irreps, normalization)}


def _both_on_grid(irreps: IrrepsTriple, normalization: str) -> Transform:
    """Values and gradients on the grid of the Gaunt product, which is exact for the bracket too."""
    natural = irreps[2][: len(irreps[2]) // 2]
    highest = highest_degrees((irreps[0], irreps[1], natural))
    grid = product_grid(sum(highest))
    in1, in2, out = degrees_of(irreps[0]), degrees_of(irreps[1]), degrees_of(natural)
    size = natural.dim
    analysis = synthesis(out, highest[2], grid, normalization, output=True)
    maps = (
        *(
            (synthesis(degrees, top, grid, normalization, output=False), *_gradient(degrees, top, grid, normalization))
            for degrees, top in ((in1, highest[0]), (in2, highest[1]))
        ),
        tuple(LinearMap((Selection(start, start + size, 2 * size), *analysis.stages)) for start in (0, size)),
    )
    terms = (((0, 0, 0), 1.0), ((1, 2, 1), 1.0), ((2, 1, 1), -1.0))
    return Transform(make_operands(irreps), 2, maps, terms, grid)
