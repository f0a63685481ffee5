"""Instructions of a weighted tensor product, as in e3nn: modes, weight shapes, normalisation, and their form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import copysign, isfinite, prod, sqrt
from typing import Any, NamedTuple

from tpnumba.irreps import Irreps, MulIrrep, check_degree
from tpnumba.plans.base import LAYOUTS, Operand, Segment
from tpnumba.plans.contraction import Contraction, Coupling, Path

IRREP_NORMALIZATIONS = ("component", "norm", "none")
PATH_NORMALIZATIONS = ("element", "path", "none")

#: mode: channels of in1, in2, weights, out
MODES = {
    "uvw": "u,v,uvw,w",
    "uvu": "u,v,uv,u",
    "uvv": "u,v,uv,v",
    "uuw": "u,u,uw,w",
    "uuu": "u,u,u,u",
    "uvuv": "u,v,uv,uv",
    "uvu<v": "u,v,u<v,u<v",
    "u<vw": "u,v,u<vw,w",
}
_ALWAYS_WEIGHTED = ("uvw", "u<vw")


class Instruction(NamedTuple):
    """One path: blocks of the inputs and the output, how channels are combined, and whether it has weights.

    ``path_weight`` stands under the square root, as in e3nn; a negative one is minus the root of its size.
    """

    i_in1: int
    i_in2: int
    i_out: int
    mode: str
    has_weight: bool
    path_weight: float = 1.0


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``choices``; else raise ``ValueError`` with both."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def read_instructions(
    instructions: Iterable[Any], irreps_in1: Irreps, irreps_in2: Irreps, irreps_out: Irreps
) -> tuple[Instruction, ...]:
    """Check instructions against the irreps.

    Raises:
        TypeError: an instruction is not a tuple of five or six items of the right types.
        ValueError: a block that is not there, an irrep that the path cannot reach, an unknown mode, multiplicities
            that the mode forbids, or a path weight that is not finite.
    """
    read = []
    for number, item in enumerate(instructions):
        where = f"instruction {number}"
        if not isinstance(item, tuple | list) or len(item) not in (5, 6):
            raise TypeError(f"{where} must be (i_in1, i_in2, i_out, mode, has_weight[, path_weight]), got {item!r}")
        ins = Instruction(*item)
        for name, index, irreps in (
            ("i_in1", ins.i_in1, irreps_in1),
            ("i_in2", ins.i_in2, irreps_in2),
            ("i_out", ins.i_out, irreps_out),
        ):
            if check_degree(f"{name} of {where}", index) >= len(irreps):
                raise ValueError(f"{name} of {where} must be below {len(irreps)}, the number of blocks, got {index}")
        check_choice(f"the mode of {where}", ins.mode, tuple(MODES))
        if not isinstance(ins.has_weight, bool):
            raise TypeError(f"has_weight of {where} must be True or False, got {ins.has_weight!r}")
        _check_number(f"path_weight of {where}", ins.path_weight, signed=True)
        _check_path(where, ins, irreps_in1[ins.i_in1], irreps_in2[ins.i_in2], irreps_out[ins.i_out])
        read.append(ins._replace(path_weight=float(ins.path_weight)))
    return tuple(read)


def _check_number(name: str, value: Any, *, signed: bool = False) -> float:
    if not isinstance(value, int | float) and not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not isfinite(number) or (number < 0 and not signed):
        limits = "" if signed else " and not negative (it stands under a square root)"
        raise ValueError(f"{name} must be finite{limits}, got {value!r}")
    return number


def _check_path(where: str, ins: Instruction, block1: MulIrrep, block2: MulIrrep, block_out: MulIrrep) -> None:
    if block_out.ir not in list(block1.ir * block2.ir):
        reach = ", ".join(str(ir) for ir in block1.ir * block2.ir)
        raise ValueError(f"{where}: {block1.ir} x {block2.ir} reaches {reach}, not {block_out.ir}")
    if ins.mode in _ALWAYS_WEIGHTED and not ins.has_weight:
        raise ValueError(f"{where}: the mode {ins.mode} needs has_weight=True")
    m1, m2, m_out = block1.mul, block2.mul, block_out.mul
    unweighted_sum = ins.mode == "uuw" and not ins.has_weight
    fits = {
        "uvw": True,
        "uvu": m1 == m_out,
        "uvv": m2 == m_out,
        "uuw": m1 == m2 and (m_out == 1 or not unweighted_sum),
        "uuu": m1 == m2 == m_out,
        "uvuv": m1 * m2 == m_out,
        "uvu<v": m1 == m2 and m_out == m1 * (m1 - 1) // 2,
        "u<vw": m1 == m2,
    }[ins.mode]
    if not fits:
        need = " (without weights, one copy in the output)" if unweighted_sum else ""
        raise ValueError(
            f"{where}: the mode {ins.mode} does not fit the multiplicities {m1}, {m2} -> {m_out} of "
            f"{block1} x {block2} -> {block_out}{need}"
        )


def weight_shape(ins: Instruction, irreps_in1: Irreps, irreps_in2: Irreps, irreps_out: Irreps) -> tuple[int, ...]:
    """The shape of an instruction's weights."""
    u, v, w = irreps_in1[ins.i_in1].mul, irreps_in2[ins.i_in2].mul, irreps_out[ins.i_out].mul
    pairs = u * (v - 1) // 2
    return {
        "uvw": (u, v, w),
        "uvu": (u, v),
        "uvv": (u, v),
        "uuw": (u, w),
        "uuu": (u,),
        "uvuv": (u, v),
        "uvu<v": (pairs,),
        "u<vw": (pairs, w),
    }[ins.mode]


def read_variances(name: str, values: Iterable[Any] | None, irreps: Irreps) -> tuple[float, ...]:
    """One variance a block, 1 by default.

    Raises:
        ValueError: another number of them, or one that is negative or not finite.
    """
    if values is None:
        return (1.0,) * len(irreps)
    read = tuple(_check_number(f"{name}[{i}]", value) for i, value in enumerate(values))
    if len(read) != len(irreps):
        raise ValueError(f"{name} must have {len(irreps)} items, one a block of {irreps}, got {len(read)}")
    return read


def normalization_coefficients(
    instructions: tuple[Instruction, ...],
    irreps: tuple[Irreps, Irreps, Irreps],
    variances: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]],
    irrep_normalization: str,
    path_normalization: str,
) -> list[float]:
    """The factor in front of ``C`` for each instruction.

    ``sqrt(a * out_var * |path_weight| / x)``, with the sign of the path weight. There ``a = 2 l_out + 1`` (component),
    ``(2 l1 + 1)(2 l2 + 1)`` (norm) or 1, and ``x`` is the number of terms summed in an output element (weighted by the
    input variances): over all paths to the block (element), or in this path times the number of paths (path).
    """

    def terms(ins: Instruction) -> float:
        u, v = irreps[0][ins.i_in1].mul, irreps[1][ins.i_in2].mul
        summed = {
            "uvw": u * v,
            "uvu": v,
            "uvv": u,
            "uuw": u,
            "uuu": 1,
            "uvuv": 1,
            "uvu<v": 1,
            "u<vw": u * (v - 1) // 2,
        }
        return variances[0][ins.i_in1] * variances[1][ins.i_in2] * summed[ins.mode]

    together: dict[int, list[float]] = {}
    for ins in instructions:
        together.setdefault(ins.i_out, []).append(terms(ins))
    factors = []
    for ins in instructions:
        ir1, ir2, ir_out = irreps[0][ins.i_in1].ir, irreps[1][ins.i_in2].ir, irreps[2][ins.i_out].ir
        square = {"component": ir_out.dim, "norm": ir1.dim * ir2.dim, "none": 1}[irrep_normalization]
        met = {
            "element": sum(together[ins.i_out]),
            "path": terms(ins) * len(together[ins.i_out]),
            "none": 1.0,
        }[path_normalization]
        size = sqrt(square * variances[2][ins.i_out] * abs(ins.path_weight) / (met if met > 0 else 1.0))
        factors.append(copysign(size, ins.path_weight))
    return factors


def make_form(
    instructions: tuple[Instruction, ...],
    factors: Sequence[float],
    irreps: tuple[Irreps, Irreps, Irreps],
    layout: str,
) -> tuple[Contraction, int]:
    """The form of a tensor product and its number of weights; operands in1, in2, weights if there are any, out."""
    check_choice("layout", layout, LAYOUTS)
    weights: list[Segment] = []
    paths = []
    start = 0
    weighted = any(ins.has_weight for ins in instructions)
    for ins, factor in zip(instructions, factors, strict=True):
        degrees = tuple(irreps[k][i].ir.l for k, i in enumerate((ins.i_in1, ins.i_in2, ins.i_out)))
        coupling = Coupling("clebsch_gordan", degrees)
        in1, in2, weight_channels, out = MODES[ins.mode].split(",")
        if ins.mode == "uuw" and not ins.has_weight:
            out = ""
        if not weighted:
            paths.append(Path((ins.i_in1, ins.i_in2, ins.i_out), f"{in1},{in2},{out}", coupling, (0, 1, 2), factor))
            continue
        place = None
        if ins.has_weight:
            place = len(weights)
            weights.append(Segment(start, prod(weight_shape(ins, *irreps)), 1))
            start += weights[-1].mul
        channels = f"{in1},{in2},{weight_channels if ins.has_weight else ''},{out}"
        paths.append(Path((ins.i_in1, ins.i_in2, place, ins.i_out), channels, coupling, (0, 1, None, 2), factor))
    operands = [
        Operand.of_irreps("in1", irreps[0], layout),
        Operand.of_irreps("in2", irreps[1], layout),
        *([Operand("weights", tuple(weights))] if weighted else []),
        Operand.of_irreps("out", irreps[2], layout),
    ]
    return Contraction(tuple(operands), len(operands) - 1, tuple(paths)), start
