"""Degrees of the products on the sphere: reading them, forms of one number a path, and grids exact for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tpnumba.irreps import Irrep, Irreps, check_degree
from tpnumba.plans.base import Operand
from tpnumba.plans.contraction import Contraction, Coupling, Path
from tpnumba.tables.couplings import harmonic_scale
from tpnumba.tables.quadrature import Grid

#: Parities of the irreps of degree l, by the name that messages give them.
PARITIES: Mapping[str, Callable[[int], int]] = {
    "(-1)^l of functions on the sphere": lambda degree: (-1) ** degree,
    "-(-1)^l of pseudo-functions on the sphere": lambda degree: -((-1) ** degree),
    "+1, as both parities meet in it": lambda degree: 1,
}
NATURAL, UNNATURAL, EVEN = PARITIES


def read_degrees(name: str, value: Any, parity: str = NATURAL) -> Irreps:
    """Read an ``lmax`` argument: a degree, or irreps of multiplicity 1, each degree once, of the parity said.

    Raises:
        TypeError, ValueError: anything else, with the argument's name.
    """
    if not isinstance(value, str | tuple | list):
        return irreps_of(range(check_degree(name, value) + 1), parity)
    irreps = Irreps(value)
    parity_of = PARITIES[parity]
    for i, block in enumerate(irreps):
        if block.mul != 1:
            raise ValueError(f"{name} must have multiplicity 1 (channels go on leading axes), got {block} in {irreps}")
        if block.ir.p != parity_of(block.ir.l):
            raise ValueError(f"{name} must have the parity {parity}, got {block.ir} in {irreps}")
        if any(block.ir == other.ir for other in irreps[:i]):
            raise ValueError(f"{name} must have each degree at most once, got {irreps}")
    return irreps


def degrees_of(irreps: Irreps) -> tuple[int, ...]:
    """The degree of each block."""
    return tuple(block.ir.l for block in irreps)


def irreps_of(degrees: Iterable[int], parity: str = NATURAL) -> Irreps:
    """One copy of each degree, of the parity said: what :func:`degrees_of` inverts."""
    parity_of = PARITIES[parity]
    return Irreps([(1, Irrep(degree, parity_of(degree))) for degree in degrees])


def with_opposite_parity(irreps: Irreps) -> Irreps:
    """The irreps, then the same degrees with the opposite parity."""
    return irreps + Irreps([(block.mul, Irrep(block.ir.l, -block.ir.p)) for block in irreps])


def highest_degrees(irreps: tuple[Irreps, Irreps, Irreps], slack: int = 0) -> list[int]:
    """The largest degree of each operand that couples: at most the sum of the other two's, less ``slack``.

    Dropping what lies above leaves the product as it is, and then no order aliases on the smallest exact grid.
    """
    highest = [block.lmax for block in irreps]
    for _ in range(3):
        highest = [min(highest[i], sum(highest) - highest[i] - slack) for i in range(3)]
    return highest


def make_form(irreps: tuple[Irreps, Irreps, Irreps], coupling: Callable[[int, int, int], float]) -> Contraction:
    """``coupling(i1, i2, i_out) C(l1, l2, l3)`` for all blocks between which it is not zero."""
    paths = []
    for i1, block1 in enumerate(irreps[0]):
        for i2, block2 in enumerate(irreps[1]):
            for i_out, block_out in enumerate(irreps[2]):
                degrees = block1.ir.l, block2.ir.l, block_out.ir.l
                if abs(degrees[0] - degrees[1]) <= degrees[2] <= degrees[0] + degrees[1]:
                    scale = coupling(i1, i2, i_out)
                    if scale != 0:
                        paths.append(Path((i1, i2, i_out), ",,", Coupling("clebsch_gordan", degrees), (0, 1, 2), scale))
    return Contraction(make_operands(irreps), 2, tuple(paths))


def make_operands(irreps: tuple[Irreps, Irreps, Irreps]) -> tuple[Operand, ...]:
    """The operands in1, in2, out."""
    return tuple(Operand.of_irreps(name, block) for name, block in zip(("in1", "in2", "out"), irreps, strict=True))


def normalised(coupling: Callable[[int, int, int], float], normalization: str) -> Callable[[int, int, int], float]:
    """A coupling of degrees, from orthonormal harmonics to those of another normalisation."""

    def scaled(l1: int, l2: int, l3: int) -> float:
        s1, s2, s3 = (harmonic_scale(normalization, degree) for degree in (l1, l2, l3))
        return coupling(l1, l2, l3) * s1 * s2 / s3

    return scaled


def product_grid(degree: int, n_beta: int | None = None) -> Grid:
    """The smallest grid for integrals up to a degree, with an even number of longitudes.

    Half a turn then leads from point to point, so that even and odd orders can be told apart and each worked on half of
    the longitudes. ``n_beta``: rings, if fewer are known to do.
    """
    return Grid(degree // 2 + 1 if n_beta is None else n_beta, degree + 1 + (degree + 1) % 2)
