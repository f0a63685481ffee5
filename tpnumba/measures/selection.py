"""Which irreps a product couples, and for what reason it leaves out the others.

The candidates are the triples that symmetry permits: ``|l1 - l2| <= l3 <= l1 + l2`` and ``p3 = p1 p2``. A reason is a
statement of the tables of coefficients: a recoupling symbol that is zero, or irreps that the product's operands cannot
hold. What the operators couple is what their own paths say; both must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product as pairs
from typing import NamedTuple

from tpnumba.irreps import Irrep, Irreps
from tpnumba.measures.expressivity import expressivity
from tpnumba.plans.methods import Methods
from tpnumba.products.base import Operator
from tpnumba.products.bracket import BracketTensorProduct, GauntBracketTensorProduct
from tpnumba.products.clebsch_gordan import FullTensorProduct
from tpnumba.products.degrees import irreps_of, make_form
from tpnumba.products.gaunt import GauntTensorProduct
from tpnumba.products.matrix import MatrixTensorProduct
from tpnumba.products.vector_spherical import VectorSphericalTensorProduct
from tpnumba.tables.couplings import bracket_coupling, cross_coupling, dot_coupling, gaunt_coupling, matrix_coupling

Triple = tuple[Irrep, Irrep, Irrep]

#: Kinds of reasons, with what they mean.
REASONS: Mapping[str, str] = {
    "parity": "an irrep that the operand of the product cannot hold, by its parity",
    "degree": "a degree above those that the product holds",
    "sum": "l1 + l2 + l3 is even or odd, and the product couples the others",
    "6j": "a 6j symbol is zero",
    "9j": "a 9j symbol is zero",
}


class Reason(NamedTuple):
    """Why a triple is not coupled: a key of :data:`REASONS`, and the statement."""

    kind: str
    statement: str


@dataclass(frozen=True)
class SelectionRules:
    """What a product does with one copy of each irrep.

    Attributes:
        product: its name.
        operator: it, for those of the irreps that it can hold; None if there are none.
        coupled: the triples that it couples, in the order of the candidates.
        left_out: why not, for each of the others.
        expressivity: of the maps from one copy of each irrep to one copy of each, see :func:`tpnumba.expressivity`.
    """

    product: str
    operator: Operator | None
    coupled: tuple[Triple, ...]
    left_out: Mapping[Triple, Reason]
    expressivity: int


def candidates(irreps_in1: Irreps, irreps_in2: Irreps, irreps_out: Irreps | None = None) -> list[Triple]:
    """The triples that an equivariant product may couple; without ``irreps_out`` to any irrep.

    Example:
        >>> candidates(Irreps("1o"), Irreps("1o"), Irreps("0e + 1o + 1e"))
        [(1o, 1o, 0e), (1o, 1o, 1e)]
    """
    wanted = None if irreps_out is None else set(_distinct(irreps_out))
    return [
        (ir1, ir2, ir3)
        for ir1, ir2 in pairs(_distinct(irreps_in1), _distinct(irreps_in2))
        for ir3 in ir1 * ir2
        if wanted is None or ir3 in wanted
    ]


def select(triples: Iterable[Triple], *, degree: int | None = None) -> list[SelectionRules]:
    """For every product, which of the triples it couples and why not the others.

    Args:
        triples: as :func:`candidates` lists them.
        degree: of the operators of the matrix product; by default the smallest at which nothing is cut off.

    Raises:
        MemoryError: as :func:`tpnumba.expressivity`.

    Example:
        >>> gaunt = select(candidates(Irreps("1o"), Irreps("1o")))[1]
        >>> gaunt.product, gaunt.coupled
        ('Gaunt', ((1o, 1o, 0e), (1o, 1o, 2e)))
        >>> [reason.statement for reason in gaunt.left_out.values()]
        ['1 + 1 + 1 is odd']
    """
    listed = list(triples)
    if degree is None:
        first, second, out = (max((triple[i].l for triple in listed), default=0) for i in range(3))
        degree = -(-max(first + second, out) // 2)
    return [_select(rule, listed) for rule in _rules(degree)]


#: Whether an operand can hold an irrep: None, or why not.
_Holds = Callable[[Irrep], Reason | None]


class _Rule(NamedTuple):
    """A product: what each operand holds, whether a coupling between held inputs is zero, and the operator."""

    product: str
    operands: tuple[_Holds, _Holds, _Holds]
    zero: Callable[[Triple], Reason | None]
    build: Callable[[Irreps, Irreps, Irreps], Operator]

    def reason(self, triple: Triple) -> Reason | None:
        """Why the triple is not coupled, if it is not: by an input, by the coupling, by the output."""
        first, second, out = (holds(ir) for holds, ir in zip(self.operands, triple, strict=True))
        return first or second or self.zero(triple) or out


def _select(rule: _Rule, triples: list[Triple]) -> SelectionRules:
    reasons = {triple: rule.reason(triple) for triple in triples}
    left_out = {triple: reason for triple, reason in reasons.items() if reason is not None}
    coupled = tuple(triple for triple in triples if triple not in left_out)
    if not coupled:
        return SelectionRules(rule.product, None, (), left_out, 0)
    first, second, out = (Irreps([(1, ir) for ir in sorted({triple[i] for triple in coupled})]) for i in range(3))
    operator = _Part(rule.build(first, second, out), (first, second, out))
    return SelectionRules(
        rule.product, operator, coupled, left_out, expressivity(operator, single_copies=True, parity=True)
    )


class _Part(Operator):
    """The blocks of a product that have some irreps, and the paths between them."""

    def __init__(self, p: Operator, kept: tuple[Irreps, Irreps, Irreps]) -> None:
        whole = p.irreps_in1, p.irreps_in2, p.irreps_out
        wanted = [{block.ir for block in irreps} for irreps in kept]
        places = [[i for i, block in enumerate(of) if block.ir in irs] for of, irs in zip(whole, wanted, strict=True)]
        scales = {path.segments: path.scale for path in p.form.paths}
        first, second, out = (Irreps([of[i] for i in some]) for of, some in zip(whole, places, strict=True))
        form = make_form(
            (first, second, out), lambda i, j, k: scales.get((places[0][i], places[1][j], places[2][k]), 0.0)
        )
        self._initialize({}, form, Methods.of("direct", form, {}), (first, second, out), (0, 1))


def _rules(a: int) -> tuple[_Rule, ...]:
    """Of every product; ``a`` is the degree of the operators of the matrix product."""
    functions = _function, _function
    vectors = _field(-1), _field(-1)

    def held(ir: Irrep) -> Reason | None:
        return Reason("degree", f"{ir.l} is above 2 a = {2 * a}") if ir.l > 2 * a else None

    def zero_matrix(triple: Triple) -> Reason | None:
        l1, l2, l3 = _degrees(triple)
        if l3 <= 2 * a and matrix_coupling(l1, l2, l3, a) == 0:
            return Reason("6j", f"6j{{{l1} {l2} {l3}; {a} {a} {a}}} = 0")
        return None

    def matrix(first: Irreps, second: Irreps, out: Irreps) -> Operator:
        return MatrixTensorProduct(first, second, out, degree=a)

    def split(first: Irreps, second: Irreps, out: Irreps) -> Operator:
        return MatrixTensorProduct(first, second, _functions(out), degree=a, split=True)

    even, function = (lambda ir: _even(ir) or held(ir)), (lambda ir: _function(ir) or held(ir))
    return (
        _Rule("Clebsch-Gordan", (_anything, _anything, _anything), _never, FullTensorProduct),
        _Rule("Gaunt", (*functions, _function), _zero_gaunt, GauntTensorProduct),
        _Rule("bracket", (*functions, _pseudo_function), _zero_bracket, BracketTensorProduct),
        _Rule("Gaunt + bracket", (*functions, _anything), _never, _gaunt_bracket),
        _Rule("matrix", (even, even, even), zero_matrix, matrix),
        _Rule("matrix, split", (function, function, held), zero_matrix, split),
        _Rule("vector spherical (cross)", (*vectors, _field(1)), _zero_cross, _vector_spherical("cross")),
        _Rule("vector spherical (dot)", (*vectors, _function), _zero_dot, _vector_spherical("dot")),
    )


def _gaunt_bracket(first: Irreps, second: Irreps, out: Irreps) -> Operator:
    return GauntBracketTensorProduct(first, second, _functions(out))


def _vector_spherical(kind: str) -> Callable[[Irreps, Irreps, Irreps], Operator]:
    """All blocks of each degree; what has another parity is left out of it."""

    def build(first: Irreps, second: Irreps, out: Irreps) -> Operator:
        degrees = (sorted({block.ir.l for block in irreps}) for irreps in (first, second, out))
        return VectorSphericalTensorProduct.of_degrees(*degrees, kind=kind)

    return build


def _functions(irreps: Irreps) -> Irreps:
    """Functions on the sphere that have the degrees of the irreps."""
    return irreps_of(sorted({block.ir.l for block in irreps}))


def _distinct(irreps: Irreps) -> list[Irrep]:
    return sorted({block.ir for block in irreps if block.mul})


def _degrees(triple: Triple) -> tuple[int, int, int]:
    l1, l2, l3 = (ir.l for ir in triple)
    return l1, l2, l3


def _anything(_: Irrep) -> Reason | None:
    return None


def _never(_: Triple) -> Reason | None:
    return None


def _function(ir: Irrep) -> Reason | None:
    return None if ir.p == (-1) ** ir.l else Reason("parity", f"{ir} is in no function on the sphere")


def _pseudo_function(ir: Irrep) -> Reason | None:
    return None if ir.p != (-1) ** ir.l else Reason("parity", f"{ir} is in no pseudo-function on the sphere")


def _even(ir: Irrep) -> Reason | None:
    return None if ir.p == 1 else Reason("parity", f"{ir} is odd, and this product is one of even irreps")


def _zero_gaunt(triple: Triple) -> Reason | None:
    return None if gaunt_coupling(*_degrees(triple)) else _sum(triple)


def _zero_bracket(triple: Triple) -> Reason | None:
    return None if bracket_coupling(*_degrees(triple)) else _sum(triple)


def _sum(triple: Triple) -> Reason:
    degrees = _degrees(triple)
    return Reason("sum", f"{' + '.join(map(str, degrees))} is {'odd' if sum(degrees) % 2 else 'even'}")


def _components(ir: Irrep, parity: int) -> list[int]:
    """The degrees l of the Cartesian components of the blocks of a vector field (parity -1) or pseudovector field."""
    degrees = (ir.l - 1, ir.l, ir.l + 1) if ir.l else (1,)
    return [degree for degree in degrees if parity * (-1) ** degree == ir.p]


def _field(parity: int) -> _Holds:
    name = "vector field" if parity == -1 else "pseudovector field"
    return lambda ir: None if _components(ir, parity) else Reason("parity", f"{ir} is in no {name}")


def _zero_cross(triple: Triple) -> Reason | None:
    blocks = pairs(_components(triple[0], -1), _components(triple[1], -1), _components(triple[2], 1))
    j1, j2, j3 = _degrees(triple)
    symbols = []
    for l1, l2, l3 in blocks:
        if cross_coupling(l1, j1, l2, j2, l3, j3):
            return None
        symbols.append(f"9j{{{l1} {l2} {l3}; 1 1 1; {j1} {j2} {j3}}}")
    return Reason("9j", " = ".join([*symbols, "0"])) if symbols else None


def _zero_dot(triple: Triple) -> Reason | None:
    j1, j2, j3 = _degrees(triple)
    if _function(triple[2]):
        return None
    symbols = []
    for l1, l2 in pairs(_components(triple[0], -1), _components(triple[1], -1)):
        if dot_coupling(l1, j1, l2, j2, j3):
            return None
        symbols.append(f"6j{{{l1} {l2} {j3}; {j2} {j1} 1}}")
    return Reason("6j", " = ".join([*symbols, "0"])) if symbols else None


#: Their names, in the order of :func:`select`.
PRODUCTS = tuple(rule.product for rule in _rules(0))
