"""What operands do in the paths of a group: where they stand in a tile, and the sums of products they take part in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.backends.lowering.butterflies import Nodes, combine_products
from tpnumba.backends.lowering.paths import leg_of, mixed_letters, segment_of, steps_of
from tpnumba.plans.contraction import Contraction, Path, channel_combinations

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Role:
    """One operand of a path: where it starts, its strides, and its channel in each combination."""

    start: int
    channel_step: int
    component_step: int
    size: int
    channel: Ints


Roles = dict[int, Role]


def roles_of(path: Path, plan: Contraction, starts: Sequence[int], tile_width: int, compact: int | None) -> Roles:
    """Each operand of a path: letters to channel numbers, for every combination of channels."""
    roles = {}
    for i, channel in channel_combinations(path, plan.operands, mixed_letters(path)).items():
        operand = plan.operands[i]
        segment = operand.segments[segment_of(path, i)]
        stride = 1 if i == compact else tile_width
        channel_step, component_step = steps_of(operand, segment)
        start = starts[i] + segment.offset * stride
        roles[i] = Role(start, channel_step * stride, component_step * stride, segment.dim, channel)
    return roles


class Coupled(NamedTuple):
    """The sums that the paths of a group are.

    Attributes:
        bases: the places that the columns of the two factors are counted from.
        nodes: sums of products, and the sums of these.
        rows: of each sum the place and the stride of the component of the third operand, and those of its weight
            (-1: none).
    """

    bases: tuple[int, int]
    nodes: Nodes
    rows: Ints


def coupled_nodes(
    paths: Sequence[Path],
    roles: Sequence[Roles],
    components: tuple[int, int, int],
    weight: int | None,
    starts: Sequence[int],
    tile_width: int,
    *,
    pair: bool,
) -> Coupled:
    """Write the paths of a group as sums of products, see :func:`combine_products`."""
    left, right, third = components
    bases = (_base(left, roles, starts), _base(right, roles, starts))
    found: list[list[Ints]] = []
    values = []
    for path, own in zip(paths, roles, strict=True):
        table = path.coupling.sparse
        a, b, k = (table.coords[leg_of(path, i)] for i in components)
        weight_place = (-1, 0) if weight is None else (own[weight].start, own[weight].channel_step)
        found.append(
            [
                (own[left].start - bases[0] + a * own[left].component_step) // tile_width,
                (own[right].start - bases[1] + b * own[right].component_step) // tile_width,
                own[third].start + k * own[third].component_step,
                *(np.full(k.size, step) for step in (own[third].channel_step, *weight_place)),
            ]
        )
        values.append(table.values * path.scale)
    one, other, *keys = (np.concatenate(each).astype(np.int64) for each in zip(*found, strict=True))
    rows, row = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
    row = np.reshape(row, -1).astype(np.int64)
    return Coupled(bases, combine_products(one, other, row, np.concatenate(values), pair=pair), rows)


def _base(operand: int, roles: Sequence[Roles], starts: Sequence[int]) -> int:
    """Where a segment starts that all paths share; else where the operand does."""
    found = {own[operand].start for own in roles}
    return found.pop() if len(found) == 1 else starts[operand]
