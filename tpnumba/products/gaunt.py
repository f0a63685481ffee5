"""The Gaunt tensor product: multiply two functions on the sphere and expand the result again."""

from __future__ import annotations

from typing import Any

from tpnumba.irreps import Irrep, Irreps, IrrepsLike, check_degree
from tpnumba.plans.base import Operand, Plan
from tpnumba.plans.contraction import Contraction, Coupling, Path
from tpnumba.plans.transform import DegreeScaling, FourierStage, LegendreStage, LinearMap, Stage, Transform
from tpnumba.products.base import Operator
from tpnumba.products.instructions import check_choice
from tpnumba.tables.couplings import NORMALIZATIONS, gaunt_coupling, harmonic_scale
from tpnumba.tables.quadrature import Grid

METHODS = ("auto", "direct", "grid")


class GauntTensorProduct(Operator):
    """Pointwise product of functions on the sphere: ``F_out(s) = F_1(s) F_2(s)``, expanded to ``lmax_out``.

    Couples degrees with even ``l1 + l2 + l3`` only, through one number each (``couplings.gaunt_coupling``): quick, but
    blind to handedness. The coefficients are those of real spherical harmonics in e3nn's convention.

    Args:
        lmax1, lmax2: the largest degree of each input, or irreps of multiplicity 1 with each degree at most once and
            parity ``(-1)^l``. Channels go on leading axes.
        lmax_out: likewise for the output; by default ``lmax1 + lmax2``, where nothing is cut off.
        method: ``direct`` (sparse Gaunt coefficients, O(L^5)), ``grid`` (Gauss-Legendre grid, separable, O(L^3)) or
            ``auto`` (the one with fewer operations). Both give the same numbers to rounding.
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
        in1, in2 = natural_irreps("lmax1", lmax1), natural_irreps("lmax2", lmax2)
        if lmax_out is None:
            both = len(in1) > 0 and len(in2) > 0
            out = Irreps.spherical_harmonics(in1.lmax + in2.lmax) if both else Irreps()
        else:
            out = natural_irreps("lmax_out", lmax_out)
        check_choice("method", method, METHODS)
        check_choice("normalization", normalization, NORMALIZATIONS)
        irreps = in1, in2, out
        form = _form(irreps, normalization)
        plan, settled = _plan(form, irreps, normalization, method)
        arguments = {"lmax1": in1, "lmax2": in2, "lmax_out": out, "method": method, "normalization": normalization}
        self._settle(arguments, form, plan, irreps, (0, 1), settled)


def natural_irreps(name: str, value: Any) -> Irreps:
    """Read an ``lmax`` argument: a degree, or irreps of multiplicity 1, each degree once, parity ``(-1)^l``.

    Raises:
        TypeError, ValueError: anything else, with the argument's name.
    """
    if not isinstance(value, str | tuple | list):
        return Irreps.spherical_harmonics(check_degree(name, value))
    irreps = Irreps(value)
    for i, block in enumerate(irreps):
        if block.mul != 1:
            raise ValueError(f"{name} must have multiplicity 1 (channels go on leading axes), got {block} in {irreps}")
        if block.ir != Irrep(block.ir.l, (-1) ** block.ir.l):
            raise ValueError(
                f"{name} must have the parity (-1)^l of functions on the sphere, got {block.ir} in {irreps}"
            )
        if any(block.ir == other.ir for other in irreps[:i]):
            raise ValueError(f"{name} must have each degree at most once, got {irreps}")
    return irreps


def _operands(irreps: tuple[Irreps, Irreps, Irreps]) -> tuple[Operand, ...]:
    return tuple(Operand.of_irreps(name, block) for name, block in zip(("in1", "in2", "out"), irreps, strict=True))


def _form(irreps: tuple[Irreps, Irreps, Irreps], normalization: str) -> Contraction:
    paths = []
    for i1, (_, ir1) in enumerate(irreps[0]):
        for i2, (_, ir2) in enumerate(irreps[1]):
            for i_out, (_, ir_out) in enumerate(irreps[2]):
                degrees = ir1.l, ir2.l, ir_out.l
                coupling = gaunt_coupling(*degrees)
                if coupling == 0:
                    continue
                s1, s2, s_out = (harmonic_scale(normalization, degree) for degree in degrees)
                scale = coupling * s1 * s2 / s_out
                paths.append(Path((i1, i2, i_out), ",,", Coupling("clebsch_gordan", degrees), (0, 1, 2), scale))
    return Contraction(_operands(irreps), 2, tuple(paths))


def _plan(
    form: Contraction, irreps: tuple[Irreps, Irreps, Irreps], normalization: str, method: str
) -> tuple[Plan, str]:
    if method == "direct" or any(len(block) == 0 for block in irreps):
        return form, "direct"
    grid = _grid_plan(irreps, normalization)
    if method == "auto" and sum(form.flops) <= sum(grid.flops):
        return form, "direct"
    return grid, "grid"


def _grid_plan(irreps: tuple[Irreps, Irreps, Irreps], normalization: str) -> Transform:
    """Synthesis on the smallest grid that integrates the triple product without error, product, analysis.

    A degree above the sum of the other two operands' largest meets nothing: it is dropped, and then no order aliases.
    """
    largest = [block.lmax for block in irreps]
    highest = [min(largest[i], sum(largest) - largest[i]) for i in range(3)]
    grid = Grid.exact(sum(highest))
    maps = []
    for i, block in enumerate(irreps):
        degrees = tuple(ir.l for _, ir in block)
        legendre = LegendreStage(degrees, highest[i], grid.n_beta)
        scaling = DegreeScaling(degrees, normalization, inverse=i == 2)
        stages: tuple[Stage, ...] = (legendre, FourierStage(legendre.m_max, grid.n_alpha, grid.n_beta))
        maps.append((LinearMap(stages if normalization == "integral" else (scaling, *stages)),))
    return Transform(_operands(irreps), 2, tuple(maps), (((0, 0, 0), 1.0),), grid)
