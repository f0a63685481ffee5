"""From a channelwise contraction to its program: which operand has no channels, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.channelwise.program import ChannelwiseProgram
from tpnumba.backends.lowering.paths import leg_of, weights_of
from tpnumba.plans.access import Access
from tpnumba.plans.contraction import Contraction, Path, channel_extents

#: The most numbers that rows filled up to whole vectors may take, of those that they hold: beyond, samples make better
#: lanes.
_MOST_FILLED = 1.5


class Roles(NamedTuple):
    """The operands of a channelwise contraction, by what they do; ``weights`` is -1 where there are none."""

    plain: int
    source: int
    target: int
    weights: int


def find_roles(plan: Contraction) -> Roles | None:
    """What each operand does; None if the plan is not channelwise.

    It is if one operand has no channels, and every path multiplies each channel of the others by itself.
    """
    paths = [path for path in plan.paths if path.segments[plan.output] is not None]
    weights = {weights_of(path) for path in paths} - {None}
    if not paths or len(weights) > 1:
        return None
    weight = next(iter(weights), None)
    components = [i for i in range(len(plan.operands)) if i != weight]
    if len(components) != 3 or any(path.legs[i] is None for path in paths for i in components):
        return None
    for plain in (components[1], components[0], components[2]):
        others = [i for i in components if i != plain]
        if all(_is_channelwise(plan, path, plain, others) for path in paths):
            source, target = others if others[0] != plan.output else others[::-1]
            return Roles(plain, source, target, -1 if weight is None else weight)
    return None


def _is_channelwise(plan: Contraction, path: Path, plain: int, others: Sequence[int]) -> bool:
    if "<" in path.channels:
        return False
    extents = channel_extents(path, plan.operands)

    def channels(i: int) -> tuple[str, ...]:
        return tuple(letter for letter in path.letters(i) if extents[letter] != 1)

    weight = weights_of(path)
    with_channels = [channels(i) for i in (*others, *(() if weight is None else (weight,)))]
    return (
        not channels(plain)
        and len(with_channels[0]) <= 1
        and with_channels.count(with_channels[0]) == len(with_channels)
    )


def lower_channelwise(plan: Contraction, dtype: str) -> ChannelwiseProgram | None:
    """Build the tables; None if the plan is not channelwise, or has too few channels for vectors of them."""
    roles = find_roles(plan)
    if roles is None:
        return None
    if plan.output == roles.plain and plan.operands[roles.plain].access is Access.INDEXED:
        return None  # its rows are written by tiles of samples
    lanes = layout.LINE // np.dtype(dtype).itemsize
    rows = [segment for i in (roles.source, roles.target) for segment in plan.operands[i].segments]
    held, filled = (sum(segment.dim * -(-segment.mul // unit) * unit for segment in rows) for unit in (1, lanes))
    paths = [
        path
        for path in plan.paths
        if path.segments[plan.output] is not None and path.scale != 0 and _has_channels(plan, path)
    ]
    used = [
        path.segments[roles.weights]
        for path in paths
        if roles.weights >= 0 and path.segments[roles.weights] is not None
    ]
    if not paths or filled > _MOST_FILLED * held or len(used) != len(set(used)):
        return None
    if plan.output == roles.weights and len(used) != len(paths):
        return None
    builder = _Builder(plan, roles, lanes)
    for path in paths:
        builder.add(path)
    return builder.finish(dtype)


def _has_channels(plan: Contraction, path: Path) -> bool:
    return all(
        operand.segments[place].mul > 0
        for operand, place in zip(plan.operands, path.segments, strict=True)
        if place is not None
    )


class _Builder:
    """Gives places in the tile, and collects the tables path by path."""

    def __init__(self, plan: Contraction, roles: Roles, lanes: int) -> None:
        self.plan, self.roles, self.lanes = plan, roles, lanes
        self.size = plan.sizes[roles.plain] * lanes  # the operand without channels comes first
        self.segments: list[list[int]] = []
        self.paths: list[list[int]] = []
        self.terms: list[tuple[int, int, float]] = []  # matrix column, component, value
        self.columns = 0
        self.flops = 0
        self.roles_table: list[list[int]] = []
        self.places = [self._place_rows(i) for i in (roles.source, roles.target, roles.weights)]

    def _place_rows(self, operand: int) -> list[int]:
        """How rows of an operand are read; gives the place of each segment in one."""
        if operand < 0:
            self.roles_table.append([-1, 0, 0, 0])
            return []
        described = self.plan.operands[operand]
        follow = [segment.dim == 1 or described.layout == "ir_mul" for segment in described.segments]
        direct = all(follow) and all(segment.mul % self.lanes == 0 for segment in described.segments)
        places, size = [], 0
        for segment, contiguous in zip(described.segments, follow, strict=True):
            step = -(-segment.mul // self.lanes) * self.lanes
            places.append(segment.offset if direct else size)
            self.segments.append([operand, segment.offset, segment.dim, segment.mul, size, step, contiguous])
            size += step * segment.dim
        self.roles_table.append([operand, direct, size, self.size])
        if not direct:
            self.size += size * self.lanes
        return places

    def add(self, path: Path) -> None:
        """Add a path, with the matrix of its coupling."""
        roles, plan = self.roles, self.plan
        source, target = (path.segments[i] for i in (roles.source, roles.target))
        plain = path.segments[roles.plain]
        assert source is not None
        assert target is not None
        assert plain is not None
        table = path.coupling.sparse
        y, i, o = (table.coords[leg_of(path, operand)] for operand in roles[:3])
        values = table.values * path.scale
        y = y + plan.operands[roles.plain].segments[plain].offset
        sizes = [path.coupling.shape[leg_of(path, operand)] for operand in (roles.source, roles.target)]
        scalar = self._is_scalar(y, i, o, values, sizes)
        entries = zip((0,) if scalar else i * sizes[1] + o, y, values, strict=False)
        self.terms.extend(
            (self.columns + int(entry), int(component), float(value)) for entry, component, value in entries
        )
        channels = plan.operands[roles.source].segments[source].mul
        vectors = -(-channels // self.lanes)
        of_weights = path.segments[roles.weights] if roles.weights >= 0 else None
        weights = -1 if of_weights is None else self.places[2][of_weights]
        step = vectors * self.lanes
        self.paths.append(
            [
                *(self.places[0][source], step, sizes[0]),
                *(self.places[1][target], step, sizes[1]),
                *(weights, self.columns, vectors, scalar),
            ]
        )
        self.columns += 1 if scalar else sizes[0] * sizes[1]
        self.flops += 2 * channels * (sizes[0] if scalar else sizes[0] * sizes[1]) + 2 * values.size

    @staticmethod
    def _is_scalar(
        y: npt.NDArray[np.int64],
        i: npt.NDArray[np.int64],
        o: npt.NDArray[np.int64],
        values: npt.NDArray[np.float64],
        sizes: Sequence[int],
    ) -> bool:
        """Whether the matrix is a multiple of one, as that of a scalar is."""
        return bool(
            sizes[0] == sizes[1] == i.size
            and np.array_equal(i, o)
            and (y == y[0]).all()
            and (values == values[0]).all()
        )

    def finish(self, dtype: str) -> ChannelwiseProgram:
        """Put the tables together."""
        roles, plan, lanes = self.roles, self.plan, self.lanes
        kinds = {roles.target: layout.TO_TARGET, roles.weights: layout.TO_WEIGHTS, roles.plain: layout.TO_PLAIN}
        output = kinds[plan.output]
        columns, components, values = (np.array(part) for part in zip(*self.terms, strict=True))
        keys, offsets, count = columns, components, self.columns
        if output == layout.TO_PLAIN:
            keys, offsets, count = components, columns, plan.sizes[roles.plain]
        order = np.argsort(keys, kind="stable")
        ends = np.searchsorted(keys[order], np.arange(count), side="right").astype(np.int64)
        arrays = np.zeros((len(plan.operands), layout.ARRAY_COLUMNS), dtype=np.int64)
        arrays[:, layout.SIZE] = plan.sizes
        at_once = 1
        if output == layout.TO_PLAIN:
            at_once = max(1, min(lanes, layout.MATRIX_BYTES // (self.columns * layout.LINE)))
        matrices, self.size = self.size, self.size + self.columns * lanes * at_once
        ones, spare, buffer = self.size, self.size + 4 * lanes, self.size + (4 + count) * lanes
        longest = max(layout.STRETCH * lanes, plan.sizes[roles.plain], lanes)
        segments = np.array(self.segments, dtype=np.int64).reshape(-1, layout.SEGMENT_FIELDS)
        paths = np.array(self.paths, dtype=np.int64)
        in_tile, numbers = (offsets[order] * lanes).astype(np.int32), values[order].astype(dtype)
        rows = np.array(self.roles_table, dtype=np.int64)
        for table in (arrays, rows, segments, paths, ends, in_tile, numbers):
            table.flags.writeable = False
        return ChannelwiseProgram(
            vectors=1,
            tile_width=lanes,
            tile_size=buffer + lanes * longest,
            arrays=arrays,
            outputs=(plan.output,),
            buffer=buffer,
            flops=self.flops,
            values=numbers,
            plain=roles.plain,
            roles=rows,
            output=output,
            segments=segments,
            paths=paths,
            ends=ends,
            offsets=in_tile,
            places=(0, matrices, ones, spare, buffer, self.columns, at_once),
        )
