"""Which paths the special Clebsch-Gordan products choose between two features."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tpnumba.irreps import Irrep, Irreps, IrrepsLike
from tpnumba.plans.base import LAYOUTS
from tpnumba.products.instructions import check_choice

#: An instruction as it is handed to ``TensorProduct``: blocks, mode, and whether there are weights.
Unread = tuple[int, int, int, str, bool]


def merged(irreps: IrrepsLike, layout: str) -> Irreps:
    """Neighbouring equal blocks as one, where that leaves every number in its place."""
    check_choice("layout", layout, LAYOUTS)
    return Irreps(irreps).simplify() if layout == "mul_ir" else Irreps(irreps).remove_zero_multiplicities()


def reader_of_filter(filter_ir_out: IrrepsLike | None) -> Callable[[Irrep], bool]:
    """Whether a filter keeps an irrep; without one all are kept."""
    if filter_ir_out is None:
        return lambda ir: True
    wanted = {block.ir for block in Irreps(filter_ir_out)}
    return lambda ir: ir in wanted


def all_paths(
    in1: Irreps,
    in2: Irreps,
    filter_ir_out: IrrepsLike | None,
    mode: str,
    *,
    has_weight: bool,
    mul_out: Callable[[int, int], int],
) -> tuple[Irreps, list[Unread]]:
    """Every path that the filter keeps, with the output sorted."""
    keep = reader_of_filter(filter_ir_out)
    found = [
        (i1, i2, (mul_out(block1.mul, block2.mul), ir))
        for i1, block1 in enumerate(in1)
        for i2, block2 in enumerate(in2)
        for ir in block1.ir * block2.ir
        if keep(ir)
    ]
    out, places, _ = Irreps([block for _, _, block in found]).sort()
    return out, [(i1, i2, places[k], mode, has_weight) for k, (i1, i2, _) in enumerate(found)]


def cut_to_pairs(in1: Irreps, in2: Irreps) -> tuple[Irreps, Irreps]:
    """Cut both so that their blocks have the same multiplicities."""
    copies1 = [ir for mul, ir in in1 for _ in range(mul)]
    copies2 = [ir for mul, ir in in2 for _ in range(mul)]
    parts: list[tuple[Irrep, Irrep, int]] = []
    ends = {end for irreps in (in1, in2) for end in itertools.accumulate(mul for mul, _ in irreps)}
    for start, end in itertools.pairwise(sorted({0, *ends})):
        parts.append((copies1[start], copies2[start], end - start))
    return Irreps([(n, ir) for ir, _, n in parts]), Irreps([(n, ir) for _, ir, n in parts])
