"""What is asked of a product: irreps, and the triples of degrees that it must couple."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from tpnumba.irreps import Irreps, IrrepsLike, check_degree

Triple = tuple[int, int, int]
#: Everything that the complete product couples between the irreps.
ALL = "all"


@dataclass(frozen=True)
class Requirement:
    """Irreps of one copy each, how many channels they have, and the triples that must be coupled.

    Attributes:
        irreps_in1, irreps_in2, irreps_out: each irrep once; channels are leading axes.
        channels: how many pairs of copies are multiplied.
        must_couple: triples of degrees.
    """

    irreps_in1: Irreps
    irreps_in2: Irreps
    irreps_out: Irreps
    channels: int
    must_couple: frozenset[Triple]

    @property
    def irreps(self) -> tuple[Irreps, Irreps, Irreps]:
        """Of in1, in2 and out."""
        return self.irreps_in1, self.irreps_in2, self.irreps_out

    def possible(self, *, parity: bool) -> frozenset[Triple]:
        """The triples that an equivariant product can couple: under rotations, with ``parity`` also the inversion."""
        return frozenset(
            (one.ir.l, two.ir.l, out.ir.l)
            for one in self.irreps_in1
            for two in self.irreps_in2
            for out in self.irreps_out
            if abs(one.ir.l - two.ir.l) <= out.ir.l <= one.ir.l + two.ir.l
            and (not parity or out.ir.p == one.ir.p * two.ir.p)
        )


def read_requirement(
    irreps_in1: IrrepsLike, irreps_in2: IrrepsLike, irreps_out: IrrepsLike, must_couple: str | Iterable[Any]
) -> Requirement:
    """Read irreps and triples.

    Args:
        irreps_in1, irreps_in2, irreps_out: irreps; the multiplicities of a feature are equal, its channels. Both inputs
            have the same number, or one of them has one; the output has that of the other.
        must_couple: triples ``(l1, l2, l3)``, each also as a string such as ``"1,1,1"``; or ``"all"``.

    Raises:
        TypeError, ValueError: irreps or triples that are malformed, do not occur, or break the triangle rule.
    """
    singles, counts = [], []
    for name, given in (("irreps_in1", irreps_in1), ("irreps_in2", irreps_in2), ("irreps_out", irreps_out)):
        irreps = Irreps(given).regroup()
        multiplicities = {block.mul for block in irreps}
        if not multiplicities:
            raise ValueError(f"{name} must have at least one irrep, got {given!r}")
        if len(multiplicities) > 1:
            raise ValueError(
                f"{name} must have the same multiplicity everywhere, which is its number of channels, got {irreps}: "
                f"channels are mixed by a linear map before or behind a product"
            )
        singles.append(Irreps([(1, block.ir) for block in irreps]))
        counts.append(multiplicities.pop())
    if (counts[0] != counts[1] and 1 not in counts[:2]) or counts[2] != max(counts[:2]):
        raise ValueError(
            f"irreps_in1, irreps_in2 and irreps_out must have as many channels (an input may have one), got "
            f"{counts[0]}, {counts[1]} and {counts[2]}: a linear map before or behind a product changes their number"
        )
    requirement = Requirement(singles[0], singles[1], singles[2], counts[2], frozenset())
    return replace(requirement, must_couple=_read_triples(must_couple, requirement))


def _read_triples(given: str | Iterable[Any], requirement: Requirement) -> frozenset[Triple]:
    possible = requirement.possible(parity=False)
    if not possible:
        first, second, out = requirement.irreps
        raise ValueError(f"no product of irreps_in1 {first} and irreps_in2 {second} reaches irreps_out {out}")
    if not isinstance(given, Iterable):
        raise TypeError(f"must_couple must be triples (l1, l2, l3) or '{ALL}', got {given!r}")
    items = [given] if isinstance(given, str) else list(given)
    if any(isinstance(item, str) and item == ALL for item in items):
        if len(items) > 1:
            raise ValueError(f"must_couple must be '{ALL}' or triples, got both: {items!r}")
        return requirement.possible(parity=True) or possible
    if len(items) == 3 and all(isinstance(item, Integral) for item in items):
        items = [tuple(items)]
    if not items:
        raise ValueError("must_couple must have at least one triple (l1, l2, l3)")
    triples = frozenset(_read_triple(item) for item in items)
    for triple in sorted(triples - possible):
        for place, (degree, irreps) in enumerate(zip(triple, requirement.irreps, strict=True)):
            if degree not in irreps.ls:
                name = ("irreps_in1", "irreps_in2", "irreps_out")[place]
                raise ValueError(f"must_couple has {written(triple)}, and {name} no irrep of degree {degree}: {irreps}")
        raise ValueError(f"must_couple has {written(triple)}, which is no triangle: |l1 - l2| <= l3 <= l1 + l2 fails")
    return triples


def _read_triple(item: Any) -> Triple:
    parts = item.split(",") if isinstance(item, str) else item
    try:
        degrees = [check_degree("a degree of must_couple", int(p) if isinstance(p, str) else p) for p in parts]
        first, second, third = degrees
    except (TypeError, ValueError) as error:
        raise ValueError(f"must_couple must have triples (l1, l2, l3) such as '1,1,2', got {item!r}") from error
    return first, second, third


def written(triple: Triple) -> str:
    """As ``--must-couple`` has it."""
    return ",".join(map(str, triple))
