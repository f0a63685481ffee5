"""The tables of a contraction, group by group: what is multiplied, summed and put where."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.program import place_arrays
from tpnumba.backends.lowering.arena import Arena
from tpnumba.backends.lowering.paths import (
    components_of,
    leg_of,
    mixed_letters,
    mixes,
    segment_of,
    steps_of,
    weights_of,
)
from tpnumba.plans.contraction import Contraction, Path, channel_combinations, channel_extents, channel_ranges

Ints = npt.NDArray[np.int64]
#: Entries of tables beyond which a plan has no program: they would take longer to read than they save.
_MOST_ENTRIES = 2**22
#: Channels from which on a factor without any is made a matrix with the coupling once, for all of them.
MANY_CHANNELS = 4


@dataclass(frozen=True)
class _Role:
    """One operand of a path: where it starts, its strides, and its channel in each combination."""

    start: int
    channel_step: int
    component_step: int
    size: int
    channel: Ints


class Builder:
    """Collects groups of paths; :meth:`finish` makes the program.

    Args:
        plan: the contraction.
        vector_length: numbers in 64 bytes.
        tile_width: numbers of a column.
        scratch: columns that products take before weights mix them.
        compact: weights that stand in the tile as numbers, see :func:`compact_weights`.
    """

    def __init__(
        self, plan: Contraction, vector_length: int, tile_width: int, scratch: int, compact: int | None
    ) -> None:
        self.plan, self.vector_length, self.tile_width, self.compact = plan, vector_length, tile_width, compact
        extents = [
            -(-size // vector_length) * vector_length if i == compact else size * tile_width
            for i, size in enumerate(plan.sizes)
        ]
        self.arena = Arena()
        self.starts = [self.arena.allocate(extent) for extent in extents]
        self.scratch = self.arena.allocate(scratch * tile_width)
        self.groups: list[list[int]] = []
        self.channels: list[Ints] = []
        self.rows: list[Ints] = []
        self.places: list[Ints] = []
        self.values: list[npt.NDArray[np.float64]] = []
        self.n_channels = self.n_rows = self.n_terms = self.n_results = 0
        self.largest = 0
        self.flops = 0

    def add(self, paths: list[Path]) -> bool:
        """Append a group; False if the tables would grow too large."""
        output = self.plan.output
        left, right, third = components_of(paths[0])
        mixed = mixes(paths[0])
        # Counted before anything as long as that is made.
        self.n_results += len(paths) * prod(
            channel_ranges(paths[0], self.plan.operands, mixed_letters(paths[0])).values()
        )
        if self.n_results > _MOST_ENTRIES:
            return False
        roles = [self._roles(path) for path in paths]
        role, weight = roles[0], weights_of(paths[0])
        combinations = role[left].channel.size
        if combinations == 0:
            return True
        if not mixed and output in (left, right) and combinations >= MANY_CHANNELS:
            for varying, known in ((left, right), (right, left)):
                follow = [role[i].channel for i in (varying, third, weight) if i is not None]
                everyone = np.arange(combinations)
                if not role[known].channel.any() and all(np.array_equal(channel, everyone) for channel in follow):
                    for path, own in zip(paths, roles, strict=True):
                        self._precontracted(path, own, (varying, known, third), weight)
                    return self.n_terms + self.n_rows <= _MOST_ENTRIES
        mixing, result = [0] * (layout.GROUP_COLUMNS - layout.MIX), output
        if mixed:
            mixing = self._mixing(paths[0], role)
            weight = None
            result = third if output not in (left, right) else output
        zero = np.zeros(combinations, dtype=np.int64)
        second = zero if weight is None else role[weight].channel
        first_row = self.n_rows
        if result in (left, right):  # products cannot be formed first: one of the two is what is asked for
            other = right if result == left else left
            base = role[third].start if mixed else self.starts[third]
            self._sums(paths, roles, (result, other, third), weight, base)
            table = [role[third].channel, zero, role[other].channel, second, role[result].channel]
            group = [base, role[third].channel_step, 0, 0, 0, 0, 0, -1]
        else:
            for path, own in zip(paths, roles, strict=True):
                self._products(path, own, (left, right, third), weight, result)
            if result == third:
                table = [role[left].channel, role[right].channel, zero, second, role[third].channel]
            else:  # the gradient of weights: the third operand is a factor
                table = [role[left].channel, role[right].channel, role[third].channel, zero, role[result].channel]
            group = [
                *(role[left].start, role[left].channel_step, role[left].component_step, role[left].size),
                *(role[right].start, role[right].channel_step, role[right].component_step, role[right].size),
            ]
            self.largest = max(self.largest, role[left].size * role[right].size)
            self.flops += role[left].size * role[right].size * combinations
        self.channels.append(np.stack(table, axis=1))
        group += [self.n_channels, self.n_channels + combinations, first_row, self.n_rows, *mixing]
        self.n_channels += combinations
        self.groups.append(group)
        self.n_results += (self.n_rows - first_row) * combinations
        return self.n_results + self.n_terms + self.n_channels + self.n_rows <= _MOST_ENTRIES

    def _mixing(self, path: Path, role: dict[int, _Role]) -> list[int]:
        """The columns of a group that mixes; in ``role`` the third operand gives way to the scratch columns."""
        output, third, weight = self.plan.output, components_of(path)[2], weights_of(path)
        assert weight is not None
        own, count = role[third], role[weight].channel.size
        mixed = channel_extents(path, self.plan.operands)[path.letters(weight)[-1]]
        role[third] = _Role(self.scratch, own.size * self.tile_width, self.tile_width, own.size, np.arange(count))
        kind = {third: layout.AFTER, weight: layout.OUTER}.get(output, layout.BEFORE)
        self.flops += 2 * count * mixed * own.size
        return [
            *(kind, count, mixed, own.size, self.scratch),
            *(role[weight].start, int(weight == self.compact), own.start, own.channel_step, own.component_step, 0),
            *(0, 0, 0, 0),
        ]

    def _precontracted(
        self, path: Path, role: dict[int, _Role], components: tuple[int, int, int], weight: int | None
    ) -> None:
        """A group of one path whose known factor, without channels, makes a matrix for all channels of the other.

        The matrix stands in scratch columns. Its rows sum components of the known factor; if that is the result, a row
        for each of its components sums the matrix.
        """
        varying, known, third = components
        output, tile_width = self.plan.output, self.tile_width
        short, size, count = role[varying].size, role[third].size, role[third].channel.size
        table = path.coupling.sparse
        a, b, k = (table.coords[leg_of(path, i)] for i in components)
        element = k * short + a
        first_row = self.n_rows
        if output == known:
            order = np.lexsort((element, b))
            found, begin = np.unique(b[order], return_index=True)
            rows = self._append(element[order] * tile_width, table.values[order] * path.scale, begin)
            rows[:, layout.RESULT] = role[known].start + found * role[known].component_step
            base = self.scratch
        else:
            order = np.lexsort((b, element))
            begin = np.searchsorted(element[order], np.arange(size * short))  # empty rows for zeros of the matrix
            rows = self._append(b[order] * role[known].component_step, table.values[order] * path.scale, begin)
            rows[:, layout.RESULT] = self.scratch + np.arange(size * short) * tile_width
            base = role[known].start
        self.channels.append(np.zeros((1, layout.C_RESULT + 1), dtype=np.int64))
        self.groups.append(
            [
                *(base, 0, 0, 0, 0, 0, 0, -1),
                *(self.n_channels, self.n_channels + 1, first_row, self.n_rows),
                *(
                    layout.TO_KNOWN if output == known else layout.TO_VARYING,
                    count,
                    0,
                    size,
                    self.scratch,
                    -1 if weight is None else role[weight].start,
                    0,
                ),
                *(role[third].start, role[third].channel_step, role[third].component_step, 0),
                *(role[varying].start, role[varying].channel_step, role[varying].component_step, short),
            ]
        )
        self.n_channels += 1
        self.flops += 2 * table.values.size + 2 * count * size * (short + 1)

    def _roles(self, path: Path) -> dict[int, _Role]:
        """Each operand of a path: letters to channel numbers, for every combination of channels."""
        roles = {}
        for i, channel in channel_combinations(path, self.plan.operands, mixed_letters(path)).items():
            operand = self.plan.operands[i]
            segment = operand.segments[segment_of(path, i)]
            stride = 1 if i == self.compact else self.tile_width
            channel_step, component_step = steps_of(operand, segment)
            start = self.starts[i] + segment.offset * stride
            roles[i] = _Role(start, channel_step * stride, component_step * stride, segment.dim, channel)
        return roles

    def _products(
        self, path: Path, role: dict[int, _Role], components: tuple[int, int, int], weight: int | None, result: int
    ) -> None:
        """A row for each component of the third operand: the sum of products, times a weight."""
        left, right, third = components
        table = path.coupling.sparse
        a, b, k = (table.coords[leg_of(path, i)] for i in components)
        order = np.lexsort((b, a, k))
        terms = (a * role[right].size + b)[order] * self.tile_width
        component, begin = np.unique(k[order], return_index=True)
        rows = self._append(terms, table.values[order] * path.scale, begin)
        at = role[third].start + component * role[third].component_step
        if result == third:
            if weight is not None:
                rows[:, layout.SECOND], rows[:, layout.SECOND_CHANNEL] = role[weight].start, role[weight].channel_step
            rows[:, layout.RESULT] = at
        else:
            rows[:, layout.FIRST], rows[:, layout.FIRST_CHANNEL] = at, role[third].channel_step
            rows[:, layout.RESULT] = role[result].start
        rows[:, layout.RESULT_CHANNEL] = role[result].channel_step
        self.flops += (2 * terms.size + (weight is not None) * len(rows)) * role[left].channel.size

    def _sums(
        self,
        paths: list[Path],
        roles: list[dict[int, _Role]],
        components: tuple[int, int, int],
        weight: int | None,
        base: int,
    ) -> None:
        """A row for each pair of components of two factors: a sum of components of the third, times the other one.

        Several paths, which have one channel each, share a row: their terms follow each other. ``components``: the
        operands of the result, the other factor, and the third, whose places are counted from ``base``.
        """
        result, other, third = components
        role = roles[0]
        pairs, terms, values = [], [], []
        for path, own in zip(paths, roles, strict=True):
            table = path.coupling.sparse
            to, by, k = (table.coords[leg_of(path, i)] for i in components)
            pairs.append(to * role[other].size + by)
            terms.append(own[third].start - base + k * own[third].component_step)
            values.append(table.values * path.scale)
        order = np.lexsort((np.concatenate(terms), np.concatenate(pairs)))
        ordered = np.concatenate(terms)[order]
        pair, begin = np.unique(np.concatenate(pairs)[order], return_index=True)
        rows = self._append(ordered, np.concatenate(values)[order], begin)
        rows[:, layout.FIRST] = role[other].start + pair % role[other].size * role[other].component_step
        rows[:, layout.FIRST_CHANNEL] = role[other].channel_step
        if weight is not None:
            rows[:, layout.SECOND], rows[:, layout.SECOND_CHANNEL] = role[weight].start, role[weight].channel_step
        rows[:, layout.RESULT] = role[result].start + pair // role[other].size * role[result].component_step
        rows[:, layout.RESULT_CHANNEL] = role[result].channel_step
        self.flops += (2 * ordered.size + 2 * len(rows)) * role[other].channel.size

    def _append(self, terms: Ints, values: npt.NDArray[np.float64], begin: Ints) -> Ints:
        """New rows over new terms, each from one of ``begin`` to the next."""
        rows = np.zeros((begin.size, layout.ADD + 1), dtype=np.int64)
        rows[:, layout.BEGIN] = self.n_terms + begin
        rows[:, layout.END] = self.n_terms + np.append(begin[1:], terms.size)
        rows[:, layout.FIRST] = rows[:, layout.SECOND] = -1
        self.places.append(terms)
        self.values.append(values)
        self.rows.append(rows)
        self.n_terms += terms.size
        self.n_rows += begin.size
        return rows

    def _targets(self, group: Ints, rows: Ints, channels: Ints) -> tuple[Ints, Ints]:
        """The numbers of the result that the rows of a group write, ``(rows, channels)``, and that its mixing does."""
        none = np.zeros((0, 0), dtype=np.int64)
        start, tile_width = self.starts[self.plan.output], self.tile_width
        if group[layout.MIX] == layout.AFTER:
            j, k = np.indices((group[layout.MIX_TO], group[layout.MIX_COMPONENTS]))
            return none, (
                group[layout.MIX_THIRD] + j * group[layout.MIX_CHANNEL] + k * group[layout.MIX_COMPONENT] - start
            ) // tile_width
        if group[layout.MIX] == layout.OUTER:
            count = group[layout.MIX_FROM] * group[layout.MIX_TO]
            return none, (group[layout.MIX_WEIGHTS] - start) // tile_width + np.arange(count)
        u = np.arange(group[layout.MIX_FROM])[:, None]
        if group[layout.MIX] == layout.TO_VARYING:
            a = np.arange(group[layout.VARYING_SIZE])
            return none, (
                group[layout.VARYING] + u * group[layout.VARYING_CHANNEL] + a * group[layout.VARYING_STEP] - start
            ) // tile_width
        mine = rows[group[layout.ROWS_BEGIN] : group[layout.ROWS_END]]
        channel = channels[group[layout.CHANNELS_BEGIN] : group[layout.CHANNELS_END], layout.C_RESULT]
        return (
            mine[:, layout.RESULT, None] + channel * mine[:, layout.RESULT_CHANNEL, None] - start
        ) // tile_width, none

    def finish(self, dtype: str, vectors: int) -> ContractionProgram:
        """Put the tables together, and find out which results are added to and which must be zero before."""
        plan, tile_width = self.plan, self.tile_width
        groups = np.array(self.groups, dtype=np.int64).reshape(-1, layout.GROUP_COLUMNS)
        channels = np.concatenate([np.zeros((0, 5), dtype=np.int64), *self.channels])
        rows = np.concatenate([np.zeros((0, layout.ADD + 1), dtype=np.int64), *self.rows])
        start, size = self.starts[plan.output], plan.sizes[plan.output]
        writers = np.zeros(size, dtype=np.int64)
        targets = [self._targets(group, rows, channels) for group in groups]
        for by_rows, by_mixing in targets:
            np.add.at(writers, by_rows.ravel(), 1)
            np.add.at(writers, by_mixing.ravel(), 1)
        alone = np.zeros(size, dtype=bool)
        for group, (by_rows, by_mixing) in zip(groups, targets, strict=True):
            if by_mixing.size:
                group[layout.MIX_ADD] = (writers[by_mixing] > 1).any()
                alone[by_mixing.ravel()] |= not group[layout.MIX_ADD]
            else:
                adds = (writers[by_rows] > 1).any(axis=1)
                rows[group[layout.ROWS_BEGIN] : group[layout.ROWS_END], layout.ADD] = adds
                alone[by_rows[~adds].ravel()] = True
        edges = np.flatnonzero(np.diff(np.concatenate([[0], ~alone, [0]]).astype(np.int8))).reshape(-1, 2)
        products = self.arena.allocate(self.largest * tile_width)
        buffer, operands = place_arrays(plan, self.starts, self.arena, self.vector_length)
        if self.compact is not None:
            operands[self.compact, layout.SHARED] = layout.COMPACT
        zeros = np.ascontiguousarray(start + edges * tile_width)
        for table in (operands, groups, channels, rows, zeros):
            table.flags.writeable = False
        return ContractionProgram(
            vectors=vectors,
            tile_width=tile_width,
            tile_size=self.arena.end,
            arrays=operands,
            outputs=(plan.output,),
            groups=groups,
            channels=channels,
            rows=rows,
            places=np.concatenate([np.zeros(0, dtype=np.int64), *self.places]).astype(np.int32),
            values=np.concatenate([np.zeros(0), *self.values]).astype(dtype),
            zeros=zeros,
            products=products,
            buffer=buffer,
            flops=self.flops,
        )
