"""The Gaunt tensor product: multiply two functions on the sphere and expand the result again."""

from __future__ import annotations

from tpnumba.irreps import Irreps, IrrepsLike
from tpnumba.plans.methods import Methods
from tpnumba.plans.stages import DegreeScaling, FourierStage, LegendreStage, LinearMap, Stage, ThetaStage, synthesis
from tpnumba.plans.transform import Transform
from tpnumba.products.base import Operator
from tpnumba.products.degrees import (
    degrees_of,
    make_form,
    make_operands,
    normalised,
    product_grid,
    read_degrees,
)
from tpnumba.products.instructions import check_choice
from tpnumba.tables.couplings import NORMALIZATIONS, gaunt_coupling
from tpnumba.tables.quadrature import Torus, fast_length

METHODS = ("auto", "direct", "grid", "fourier")


class GauntTensorProduct(Operator):
    """Pointwise product of functions on the sphere: ``F_out(s) = F_1(s) F_2(s)``, expanded to ``lmax_out``.

    Couples degrees with even ``l1 + l2 + l3`` only, through one number each (``couplings.gaunt_coupling``): quick, but
    blind to handedness. The coefficients are those of real spherical harmonics in e3nn's convention.

    Args:
        lmax1, lmax2: the largest degree of each input, or irreps of multiplicity 1 with each degree at most once and
            parity ``(-1)^l``. Channels go on leading axes.
        lmax_out: likewise for the output; by default ``lmax1 + lmax2``, where nothing is cut off.
        method: ``direct`` (sparse Gaunt coefficients, O(L^5)), ``grid`` (Gauss-Legendre grid, separable, O(L^3)),
            ``fourier`` (Fourier series on the torus of the doubled polar angle, multiplied by fast Fourier transforms,
            O(L^3)) or ``auto`` (the quickest, see ``repr``). All give the same numbers to rounding.
        normalization: of the harmonics that both inputs and the output are expanded in: ``integral`` (orthonormal),
            ``component`` or ``norm``.

    Raises:
        TypeError, ValueError: degrees, irreps or names that are malformed.

    Example:
        >>> import numpy as np
        >>> p = GauntTensorProduct(2, 2)
        >>> p(np.ones((10, 9)), np.ones((10, 9))).shape
        (10, 25)
    """

    def __init__(
        self,
        lmax1: int | IrrepsLike,
        lmax2: int | IrrepsLike,
        lmax_out: int | IrrepsLike | None = None,
        *,
        method: str = "auto",
        normalization: str = "integral",
    ) -> None:
        in1, in2 = read_degrees("lmax1", lmax1), read_degrees("lmax2", lmax2)
        if lmax_out is None:
            both = len(in1) > 0 and len(in2) > 0
            out = Irreps.spherical_harmonics(in1.lmax + in2.lmax) if both else Irreps()
        else:
            out = read_degrees("lmax_out", lmax_out)
        check_choice("method", method, METHODS)
        check_choice("normalization", normalization, NORMALIZATIONS)
        irreps = in1, in2, out
        degrees1, degrees2, degrees_out = (degrees_of(block) for block in irreps)
        coupling = normalised(gaunt_coupling, normalization)
        form = make_form(irreps, lambda i, j, k: coupling(degrees1[i], degrees2[j], degrees_out[k]))
        others = {
            "grid": lambda: _grid_plan(irreps, normalization),
            "fourier": lambda: _fourier_plan(irreps, normalization),
        }
        methods = Methods.of(method, form, others)
        arguments = {"lmax1": in1, "lmax2": in2, "lmax_out": out, "method": method, "normalization": normalization}
        self._initialize(arguments, form, methods, irreps, (0, 1))


def highest_degrees(irreps: tuple[Irreps, Irreps, Irreps], slack: int = 0) -> list[int]:
    """The largest degree of each operand that meets something: at most the sum of the other two's, less ``slack``.

    Dropping what lies above leaves the product as it is, and then no order aliases on the smallest exact grid.
    """
    highest = [block.lmax for block in irreps]
    for _ in range(3):
        highest = [min(highest[i], sum(highest) - highest[i] - slack) for i in range(3)]
    return highest


def _grid_plan(irreps: tuple[Irreps, Irreps, Irreps], normalization: str) -> Transform:
    """Synthesis on the smallest grid that integrates the triple product without error, product, analysis."""
    highest = highest_degrees(irreps)
    grid = product_grid(sum(highest))
    maps = tuple(
        (synthesis(degrees_of(block), highest[i], grid, normalization, output=i == 2),)
        for i, block in enumerate(irreps)
    )
    return Transform(make_operands(irreps), 2, maps, (((0, 0, 0), 1.0),), grid)


def _fourier_plan(irreps: tuple[Irreps, Irreps, Irreps], normalization: str) -> Transform:
    """Series on the torus, whose convolution is a product of values at equispaced points.

    The product has degree ``L1 + L2`` in theta; the output's dual series turn it into integrals over the sphere.
    """
    highest = highest_degrees(irreps)
    product = highest[0] + highest[1]
    torus = Torus(fast_length(2 * product + 1), fast_length(sum(highest) + 1))
    maps = []
    for i, block in enumerate(irreps):
        degrees = degrees_of(block)
        count = (product if i == 2 else highest[i]) + 1
        series = LegendreStage(degrees, highest[i], count, "dual_theta" if i == 2 else "theta")
        stages: tuple[Stage, ...] = (
            series,
            ThetaStage(series.m_max, count, torus.n_theta),
            FourierStage(series.m_max, torus.n_alpha, torus.n_theta, "fast"),
        )
        if normalization != "integral":
            stages = (DegreeScaling(degrees, normalization, inverse=i == 2), *stages)
        maps.append((LinearMap(stages),))
    return Transform(make_operands(irreps), 2, tuple(maps), (((0, 0, 0), 1.0),), torus)
