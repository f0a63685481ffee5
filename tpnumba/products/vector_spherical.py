"""The vector spherical tensor product: vector fields on the sphere, multiplied point by point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from tpnumba.irreps import Irrep, Irreps, IrrepsLike, check_degree
from tpnumba.plans.stages import LinearMap, SparseStage, synthesis
from tpnumba.plans.transform import Transform
from tpnumba.products.degrees import degrees_of, highest_degrees, make_operands, product_grid
from tpnumba.products.instructions import check_choice
from tpnumba.products.sphere import IrrepsTriple, SphereProduct, Variant
from tpnumba.tables.couplings import cross_coupling, dot_coupling

KINDS = ("cross", "dot")


class _Field(NamedTuple):
    """The blocks of a vector field, ``(j, l)`` each, and their irreps in the same order."""

    blocks: tuple[tuple[int, int], ...]
    irreps: Irreps


class VectorSphericalTensorProduct(SphereProduct):
    """Pointwise cross or dot product of two vector fields on the sphere, in vector spherical harmonics ``Y_jlm``.

    ``Y_jlm = sqrt(2 j + 1) sum C(l, 1, j)[a, b, m] Y_la e_b`` with l = j - 1, j, j + 1, orthonormal. An input has the
    irreps of ``spherical_harmonics(lmax) x 1o``: dimension ``3 (lmax + 1)^2``, blocks sorted by (j, parity), then by l.
    The degree j of a block is that of its irrep; ``lmax`` bounds l, the degree of the Cartesian components.

    Args:
        lmax1, lmax2: the largest l of each input, or irreps of multiplicity 1 with each l at most once and parity
            ``(-1)^l``. Channels go on leading axes.
        lmax_out: likewise for the output; by default ``lmax1 + lmax2``, where nothing is cut off.
        kind: ``cross``: the result is a pseudovector field, ``spherical_harmonics(lmax_out) x 1e``; ``dot``: it is a
            function, ``spherical_harmonics(lmax_out)``.
        method: ``direct`` (sparse coefficients, O(L^5)), ``grid`` (Cartesian components on a Gauss-Legendre grid,
            separable, O(L^3)) or ``auto`` (the quicker one, see ``repr``). Both give the same numbers to rounding.
        j1, j2, j_out: keep only the blocks with these j; by default all.

    Raises:
        TypeError, ValueError: degrees, irreps or names that are malformed.

    Example:
        >>> import numpy as np
        >>> p = VectorSphericalTensorProduct(0, 0)  # constant fields: the cross product of two vectors
        >>> p.irreps_in1, p.irreps_out, (p(np.array([1.0, 0, 0]), np.array([0, 1.0, 0])) * np.sqrt(4 * np.pi)).round(12)
        (1x1o, 1x1e, array([0., 0., 1.]))
    """

    METHODS = ("direct", "grid")
    VARIANTS = tuple(Variant(f"vector spherical ({kind})", f"vector-{kind}", {"kind": kind}) for kind in KINDS)

    kind: str

    def __init__(
        self,
        lmax1: int | IrrepsLike,
        lmax2: int | IrrepsLike,
        lmax_out: int | IrrepsLike | None = None,
        *,
        kind: str = "cross",
        method: str = "auto",
        j1: Iterable[int] | None = None,
        j2: Iterable[int] | None = None,
        j_out: Iterable[int] | None = None,
    ) -> None:
        scalars = self._read_degrees(lmax1, lmax2, lmax_out)
        check_choice("kind", kind, KINDS)
        self._check_method(method)
        chosen = _read_choice("j1", j1), _read_choice("j2", j2), _read_choice("j_out", j_out)
        vectors = Irrep("1o"), Irrep("1o"), Irrep("1e") if kind == "cross" else Irrep("0e")
        fields = tuple(_field(s, v, js) for s, v, js in zip(scalars, vectors, chosen, strict=True))
        irreps = fields[0].irreps, fields[1].irreps, fields[2].irreps

        def coupling(i: int, j: int, k: int) -> float:
            (j1, l1), (j2, l2), (j3, l3) = (field.blocks[n] for field, n in zip(fields, (i, j, k), strict=True))
            if kind == "dot":
                return dot_coupling(l1, j1, l2, j2, j3)
            return cross_coupling(l1, j1, l2, j2, l3, j3)

        arguments: dict[str, Any] = {
            **dict(zip(("lmax1", "lmax2", "lmax_out"), scalars, strict=True)),
            "kind": kind,
            "method": method,
            **dict(zip(("j1", "j2", "j_out"), chosen, strict=True)),
        }
        self._initialize_by_coupling(arguments, irreps, coupling, {"grid": lambda: _grid_plan(scalars, fields, kind)})
        self.__dict__["kind"] = kind

    @classmethod
    def of_degrees(
        cls, degrees1: Sequence[int], degrees2: Sequence[int], degrees_out: Sequence[int], **options: Any
    ) -> SphereProduct:
        """Fields whose blocks have the degrees j given, each with all its l: up to one above (functions: j itself)."""
        above = 0 if options.get("kind") == "dot" else 1
        return cls(
            max(degrees1) + 1,
            max(degrees2) + 1,
            max(degrees_out) + above,
            j1=degrees1,
            j2=degrees2,
            j_out=degrees_out,
            **options,
        )


def _read_choice(name: str, degrees: Iterable[int] | None) -> tuple[int, ...] | None:
    if degrees is None:
        return None
    if not isinstance(degrees, Iterable):
        raise TypeError(f"{name} must be a list of degrees or None, got {degrees!r}")
    return tuple(sorted({check_degree(f"an item of {name}", degree) for degree in degrees}))


def _field(scalars: Irreps, vector: Irrep, chosen: tuple[int, ...] | None) -> _Field:
    """The blocks ``Y_l x vector`` with the degrees j chosen (None: all), sorted by irrep, then by l."""
    every = ((ir, block.ir.l) for block in scalars for ir in block.ir * vector)
    found = sorted((ir, degree) for ir, degree in every if chosen is None or ir.l in chosen)
    return _Field(tuple((ir.l, degree) for ir, degree in found), Irreps([(1, ir) for ir, _ in found]))


def _grid_plan(scalars: IrrepsTriple, fields: tuple[_Field, ...], kind: str) -> Transform:
    """Cartesian components, each a function of degree l, on the grid of the Gaunt product of the three."""
    highest = highest_degrees(scalars)
    grid = product_grid(sum(highest))
    maps: list[tuple[LinearMap, ...]] = []
    for i, (irreps, field) in enumerate(zip(scalars, fields, strict=True)):
        if i == 2 and kind == "dot":
            maps.append((synthesis(degrees_of(field.irreps), highest[i], grid, "integral", output=True),))
            continue
        lmax = irreps.lmax
        function = synthesis(tuple(range(lmax + 1)), highest[i], grid, "integral", output=i == 2)
        maps.append(
            tuple(
                LinearMap((SparseStage("cartesian_component", (b, lmax, *field.blocks)), *function.stages))
                for b in range(3)
            )
        )
    terms: tuple[tuple[tuple[int, ...], float], ...] = tuple(((b, b, 0), 1.0) for b in range(3))
    if kind == "cross":
        even: set[tuple[int, ...]] = {(0, 1, 2), (1, 2, 0), (2, 0, 1)}
        terms = tuple((order, 1.0 if order in even else -1.0) for order in permutations(range(3)))
    operands = make_operands((fields[0].irreps, fields[1].irreps, fields[2].irreps))
    return Transform(operands, 2, tuple(maps), terms, grid)
