"""The products that could be used between given irreps, made and asked what they couple."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from tpnumba.irreps import Irrep, Irreps
from tpnumba.measures.expressivity import expressivity, interactability
from tpnumba.products.base import Operator
from tpnumba.products.clebsch_gordan import FullTensorProduct, TensorProduct
from tpnumba.products.matrix import MatrixTensorProduct
from tpnumba.products.vector_spherical import VectorSphericalTensorProduct
from tpnumba.studies.advice.requirement import Requirement, Triple, written
from tpnumba.studies.registry import PRODUCTS, Degrees

Progress = Callable[[str, int, int], None]

COMPLETE = "Clebsch-Gordan"


class Alternative(NamedTuple):
    """A product by one method that reaches the requirement.

    Attributes:
        product, method: as `tpnumba compare` names them.
        operator: the product itself.
        couples: the triples that it couples between irreps that are asked for.
        gives_up: what the complete product has and it has not: triples, then other things in words.
    """

    product: str
    method: str
    operator: Operator
    couples: frozenset[Triple]
    gives_up: tuple[str, ...]


class _Family(NamedTuple):
    """A product on the sphere; ``build`` makes it for degrees, by a method."""

    name: str
    methods: tuple[str, ...]
    build: Callable[[str], Callable[[Degrees, Degrees, Degrees], Operator]]
    #: Whether the inversion has a meaning in it.
    has_parity: bool = True


def _families() -> Iterator[_Family]:
    for product in PRODUCTS:
        if product.name != COMPLETE:
            yield _Family(product.name, product.methods, product.build, product.name != "matrix")
        if product.name == "matrix":
            yield _Family(
                "matrix (split)",
                product.methods,
                lambda method: partial(MatrixTensorProduct.of_degrees, split=True, method=method),
            )


def alternatives(requirement: Requirement, on_progress: Progress | None = None) -> list[Alternative]:
    """Every product and method that couples what must be coupled, the complete product first, by its direct form.

    A product that does so and respects the inversion is offered as that, and else as one that is equivariant under
    rotations alone, if it does so then.

    Args:
        requirement: what is asked.
        on_progress: called with a description, the number of products made, and their total.
    """
    families = list(_families())
    complete = _complete(requirement)
    degrees_of_freedom = expressivity(complete.operator, single_copies=True)
    found = [complete]
    for done, family in enumerate(families, start=1):
        if on_progress is not None:
            on_progress(f"making {family.name}", done, len(families) + 1)
        found += _of_family(family, requirement, complete, degrees_of_freedom)
    return found


def _complete(requirement: Requirement) -> Alternative:
    operator = FullTensorProduct(*requirement.irreps)
    couples = interactability(operator)
    if requirement.must_couple <= couples:
        return Alternative(COMPLETE, "direct", operator, couples, ())
    operator = FullTensorProduct(*map(_without_parity, requirement.irreps))
    return Alternative(COMPLETE, "direct", operator, interactability(operator), ("parity",))


def required_alone(requirement: Requirement, complete: Alternative) -> Operator:
    """The paths of the complete product that must be there, and no others."""
    in1, in2 = complete.operator.irreps_in1, complete.operator.irreps_in2
    kept = [
        path for path in complete.operator.paths if (path.ir1.l, path.ir2.l, path.ir_out.l) in requirement.must_couple
    ]
    instructions = [(path.i1, path.i2, number, "uuu", False) for number, path in enumerate(kept)]
    return TensorProduct(in1, in2, Irreps([(1, path.ir_out) for path in kept]), instructions)


def _without_parity(irreps: Irreps) -> Irreps:
    """Every degree once, as even irreps."""
    return Irreps([(1, Irrep(degree, 1)) for degree in sorted(set(irreps.ls))])


def _of_family(
    family: _Family, requirement: Requirement, complete: Alternative, degrees_of_freedom: int
) -> Iterator[Alternative]:
    if any(len(set(irreps.ls)) < len(irreps) for irreps in requirement.irreps[:2]):
        return  # a function on the sphere has each degree once
    degrees = tuple(tuple(sorted(set(irreps.ls))) for irreps in requirement.irreps)
    for parity in (True, False) if family.has_parity else (False,):
        build = partial(_build, family, degrees=degrees)
        operator = build(family.methods[0])
        couples = _coupled(operator, requirement) if parity else _coupled_by_rotations(operator, requirement)
        if not requirement.must_couple <= couples:
            continue
        lost = sorted(complete.couples - couples)
        gives_up = [written(triple) for triple in lost]
        if not parity:
            gives_up.append("parity")
        reached = min(expressivity(operator, single_copies=True), len(couples))
        if reached < degrees_of_freedom:
            gives_up.append(
                f"weights and normalisation of single triples: {reached} of {degrees_of_freedom} degrees of freedom"
            )
        if isinstance(operator, VectorSphericalTensorProduct):
            gives_up.append("plain inputs: each degree is fed to the blocks of a vector field by weights")
        for method in family.methods:
            yield Alternative(family.name, method, build(method), couples, tuple(gives_up))
        return


def _build(family: _Family, method: str, *, degrees: tuple[Any, ...]) -> Operator:
    return family.build(method)(*degrees)


def _coupled_by_rotations(operator: Operator, requirement: Requirement) -> frozenset[Triple]:
    return interactability(operator) & requirement.possible(parity=False)


def _coupled(operator: Operator, requirement: Requirement) -> frozenset[Triple]:
    """What a product couples between irreps that occur, where its functions may also be pseudo-functions.

    It takes functions of parity ``(-1)^l``; where an input has the opposite parity in every degree, so has the output.
    """
    wanted = [{block.ir for block in irreps} for irreps in requirement.irreps]
    held = [{block.ir for block in irreps} for irreps in (operator.irreps_in1, operator.irreps_in2)]
    for sign1 in (1, -1):
        for sign2 in (1, -1):
            turned = [_turned(irreps, sign) for irreps, sign in zip(wanted, (sign1, sign2, sign1 * sign2), strict=True)]
            if turned[0] <= held[0] and turned[1] <= held[1]:
                return interactability(operator) & frozenset(
                    (path.ir1.l, path.ir2.l, path.ir_out.l)
                    for path in operator.paths
                    if path.ir1 in turned[0] and path.ir2 in turned[1] and path.ir_out in turned[2]
                )
    return frozenset()


def _turned(irreps: set[Irrep], sign: int) -> set[Irrep]:
    return {Irrep(ir.l, ir.p * sign) for ir in irreps}
