"""The Gaunt tensor product: multiply two functions on the sphere and expand the result again."""

from __future__ import annotations

from tpnumba.plans.stages import DegreeScaling, FourierStage, LegendreStage, LinearMap, Stage, ThetaStage, synthesis
from tpnumba.plans.transform import Transform
from tpnumba.products.degrees import degrees_of, highest_degrees, make_operands, product_grid
from tpnumba.products.sphere import FunctionProduct, IrrepsTriple, Plans, Variant
from tpnumba.tables.couplings import gaunt_coupling
from tpnumba.tables.quadrature import Torus, fast_length


class GauntTensorProduct(FunctionProduct):
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

    METHODS = ("direct", "grid", "fourier")
    VARIANTS = (Variant("Gaunt", "gaunt"),)
    COUPLINGS = (gaunt_coupling,)

    @classmethod
    def _plans(cls, irreps: IrrepsTriple, normalization: str) -> Plans:
        return {
            "grid": lambda: _grid_plan(irreps, normalization),
            "fourier": lambda: _fourier_plan(irreps, normalization),
        }


def _grid_plan(irreps: IrrepsTriple, normalization: str) -> Transform:
    """Synthesis on the smallest grid that integrates the triple product without error, product, analysis."""
    highest = highest_degrees(irreps)
    grid = product_grid(sum(highest))
    maps = tuple(
        (synthesis(degrees_of(block), highest[i], grid, normalization, output=i == 2),)
        for i, block in enumerate(irreps)
    )
    return Transform(make_operands(irreps), 2, maps, (((0, 0, 0), 1.0),), grid)


def _fourier_plan(irreps: IrrepsTriple, normalization: str) -> Transform:
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
