"""The tables of a contraction, group by group: what is multiplied, summed and put where."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.contraction.roles import Coupled, Role, Roles, coupled_nodes, roles_of
from tpnumba.backends.cpu.program import place_arrays
from tpnumba.backends.lowering.arena import Arena
from tpnumba.backends.lowering.paths import (
    components_of,
    leg_of,
    mixed_letters,
    mixes,
    weights_of,
)
from tpnumba.plans.contraction import Contraction, Path, channel_extents, channel_ranges

Ints = npt.NDArray[np.int64]
#: Entries of tables beyond which a plan has no program: they would take longer to read than they save.
_MOST_ENTRIES = 2**22
#: Channels from which on a factor without any is made a matrix with the coupling once, for all of them.
MANY_CHANNELS = 4


class Builder:
    """Collects groups of paths; :meth:`finish` makes the program.

    Args:
        plan: the contraction.
        vector_length: numbers in 64 bytes.
        tile_width: numbers of a column.
        scratch: columns that products take before weights mix them.
        nodes: columns that sums of products take.
        compact: weights that stand in the tile as numbers, see :func:`compact_weights`.
        pair: whether products are put together, see :mod:`tpnumba.backends.lowering.butterflies`.
    """

    def __init__(
        self,
        plan: Contraction,
        vector_length: int,
        tile_width: int,
        *,
        scratch: int,
        nodes: int,
        compact: int | None,
        pair: bool,
    ) -> None:
        self.plan, self.vector_length, self.tile_width = plan, vector_length, tile_width
        self.compact, self.pair = compact, pair
        extents = [
            -(-size // vector_length) * vector_length if i == compact else size * tile_width
            for i, size in enumerate(plan.sizes)
        ]
        self.arena = Arena()
        self.starts = [self.arena.allocate(extent) for extent in extents]
        self.scratch = self.arena.allocate(scratch * tile_width)
        self.nodes = self.arena.allocate(nodes * tile_width)
        self.groups: list[Ints] = []
        self.channels: list[Ints] = []
        self.rows: list[Ints] = []
        self.places: list[Ints] = []
        self.values: list[npt.NDArray[np.float64]] = []
        self.sums: list[Ints] = []
        self.factors: list[Ints] = []
        self.n_channels = self.n_rows = self.n_terms = self.n_sums = self.n_factors = self.n_results = 0
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
        if combinations == 0 or not any(path.coupling.sparse.values.size for path in paths):
            return True
        if not mixed and output in (left, right) and combinations >= MANY_CHANNELS:
            for varying, known in ((left, right), (right, left)):
                follow = [role[i].channel for i in (varying, third, weight) if i is not None]
                everyone = np.arange(combinations)
                if not role[known].channel.any() and all(np.array_equal(channel, everyone) for channel in follow):
                    for path, own in zip(paths, roles, strict=True):
                        self._precontracted(path, own, (varying, known, third), weight)
                    return self._is_small()
        group = self._new_group()
        result = output
        if mixed:
            self._mixing(group, paths[0], role)
            weight = None
            result = third if output not in (left, right) else output
        zero = np.zeros(combinations, dtype=np.int64)
        second = zero if weight is None else role[weight].channel
        components = left, right, third
        coupled = coupled_nodes(paths, roles, components, weight, self.starts, self.tile_width, pair=self.pair)
        write = self._pull if result in (left, right) else self._push
        # ... of the left and right factor, of what rows are multiplied by, and of the result.
        channels = [zero if i is None else role[i].channel for i in write(group, coupled, role, components, result)]
        self._finish_group(group, np.stack([*channels[:3], second, channels[3]], axis=1))
        rows, nodes = int(group[layout.ROWS_END] - group[layout.ROWS_BEGIN]), coupled.nodes
        self.n_results += rows * combinations
        self.flops += (2 * (nodes.left.size + nodes.value.size) + (weight is not None) * rows) * combinations
        return self._is_small()

    def _is_small(self) -> bool:
        entries = self.n_results + self.n_terms + self.n_channels + self.n_rows + self.n_sums + self.n_factors
        return entries <= _MOST_ENTRIES

    def _new_group(self) -> Ints:
        group = np.zeros(layout.GROUP_COLUMNS, dtype=np.int64)
        group[layout.ROWS_BEGIN], group[layout.NODES_BEGIN] = self.n_rows, self.n_sums
        return group

    def _finish_group(self, group: Ints, channels: Ints) -> None:
        group[layout.CHANNELS_BEGIN] = self.n_channels
        self.n_channels += len(channels)
        group[layout.CHANNELS_END] = self.n_channels
        group[layout.ROWS_END], group[layout.NODES_END] = self.n_rows, self.n_sums
        self.channels.append(channels)
        self.groups.append(group)

    def _mixing(self, group: Ints, path: Path, role: Roles) -> None:
        """The fields of a group that mixes; in ``role`` the third operand gives way to the scratch columns."""
        output, third, weight = self.plan.output, components_of(path)[2], weights_of(path)
        assert weight is not None
        own, count = role[third], role[weight].channel.size
        mixed = channel_extents(path, self.plan.operands)[path.letters(weight)[-1]]
        role[third] = Role(self.scratch, own.size * self.tile_width, self.tile_width, own.size, np.arange(count))
        kind = {third: layout.AFTER, weight: layout.OUTER}.get(output, layout.BEFORE)
        self.flops += 2 * count * mixed * own.size
        group[layout.MIX : layout.MIX_COMPACT + 1] = (
            *(kind, count, mixed, own.size, self.scratch),
            *(role[weight].start, int(weight == self.compact)),
        )
        group[layout.MIX_THIRD : layout.MIX_COMPONENT + 1] = own.start, own.channel_step, own.component_step

    def _precontracted(self, path: Path, role: Roles, components: tuple[int, int, int], weight: int | None) -> None:
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
        group = self._new_group()
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
        group[layout.LEFT], group[layout.ROWS_FIRST] = base, 1
        group[layout.MIX : layout.MIX_COMPACT + 1] = (
            *(layout.TO_KNOWN if output == known else layout.TO_VARYING, count, 0, size, self.scratch),
            *(-1 if weight is None else role[weight].start, 0),
        )
        opposite, moving = role[third], role[varying]
        group[layout.MIX_THIRD : layout.MIX_COMPONENT + 1] = (
            *(opposite.start, opposite.channel_step, opposite.component_step),
        )
        group[layout.VARYING : layout.VARYING_SIZE + 1] = (
            *(moving.start, moving.channel_step, moving.component_step, short),
        )
        self._finish_group(group, np.zeros((1, layout.C_RESULT + 1), dtype=np.int64))
        self.flops += 2 * table.values.size + 2 * count * size * (short + 1)

    def _roles(self, path: Path) -> Roles:
        return roles_of(path, self.plan, self.starts, self.tile_width, self.compact)

    def _push(
        self, group: Ints, coupled: Coupled, role: Roles, components: tuple[int, int, int], result: int
    ) -> tuple[int | None, ...]:
        """Products of the first two factors, summed into components of the third one, or times these into weights.

        Returns:
            The operands whose channels the left and the right factor, the rows' first factor and the result have.
        """
        left, right, third = components
        bases, nodes, rows = coupled
        group[[layout.LEFT, layout.RIGHT]] = bases
        group[[layout.LEFT_CHANNEL, layout.RIGHT_CHANNEL]] = role[left].channel_step, role[right].channel_step
        self._append_sums(
            self.nodes + np.arange(nodes.begin.size - 1) * self.tile_width,
            np.stack([nodes.left, nodes.right], axis=1),
            nodes.sign,
            nodes.begin[:-1],
        )
        begin = np.searchsorted(nodes.row, np.arange(len(rows)))
        added = self._append(nodes.node * self.tile_width, nodes.value, begin)
        place, step, weight_place, weight_step = rows.T
        if result == third:
            added[:, layout.SECOND], added[:, layout.SECOND_CHANNEL] = weight_place, weight_step
            added[:, layout.RESULT], added[:, layout.RESULT_CHANNEL] = place, step
        else:
            added[:, layout.FIRST], added[:, layout.FIRST_CHANNEL] = place, step
            added[:, layout.RESULT], added[:, layout.RESULT_CHANNEL] = weight_place, weight_step
        return left, right, None if result == third else third, result

    def _pull(
        self, group: Ints, coupled: Coupled, role: Roles, components: tuple[int, int, int], result: int
    ) -> tuple[int | None, ...]:
        """The sums of :meth:`_push` read backwards: from the third operand to the nodes, and to one of their factors.

        Returns:
            The same as :meth:`_push`.
        """
        left, right, third = components
        bases, nodes, rows = coupled
        place = rows[:, 0]
        base = int(place.min())
        order = np.lexsort((nodes.row, nodes.node))
        begin = np.searchsorted(nodes.node[order], np.arange(nodes.begin.size - 1))
        added = self._append(place[nodes.row[order]] - base, nodes.value[order], begin)
        added[:, layout.RESULT] = self.nodes + np.arange(nodes.begin.size - 1) * self.tile_width
        added[:, layout.SECOND], added[:, layout.SECOND_CHANNEL] = rows[0, 2:]  # if there are weights, of one path
        other = right if result == left else left
        to, by = (nodes.left, nodes.right) if result == left else (nodes.right, nodes.left)
        of = dict(zip((left, right), bases, strict=True))
        number = np.repeat(np.arange(nodes.begin.size - 1), np.diff(nodes.begin))
        order = np.lexsort((by, number, to))
        targets, begin = np.unique(to[order], return_index=True)
        self._append_sums(
            of[result] + targets * self.tile_width,
            np.stack([number, by], axis=1)[order],
            nodes.sign[order],
            begin,
            role[result].channel_step,
        )
        group[[layout.LEFT, layout.LEFT_CHANNEL]] = base, role[third].channel_step
        group[[layout.RIGHT, layout.RIGHT_CHANNEL]] = of[other], role[other].channel_step
        group[layout.ROWS_FIRST] = 1
        return third, other, None, result

    def _append_sums(self, results: Ints, factors: Ints, signs: Ints, begin: Ints, channel_step: int = 0) -> None:
        """Sums of products, each of ``factors`` (in columns) from one of ``begin`` to the next, to places."""
        sums = np.zeros((begin.size, layout.SUM_FIELDS), dtype=np.int64)
        sums[:, layout.SUM_BEGIN] = self.n_factors + begin
        sums[:, layout.SUM_END] = self.n_factors + np.append(begin[1:], len(factors))
        sums[:, layout.SUM_RESULT], sums[:, layout.SUM_RESULT_CHANNEL] = results, channel_step
        self.factors.append(np.column_stack([factors * self.tile_width, signs]))
        self.sums.append(sums)
        self.n_factors += len(factors)
        self.n_sums += begin.size

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

    def _targets(self, group: Ints, rows: Ints, sums: Ints, channels: Ints) -> tuple[Ints, Ints]:
        """The numbers of the result that a group's rows or last sums write, and that its mixing does."""
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
        place, step = self._writers(group, rows, sums)[:, [0, 1]].T
        channel = channels[group[layout.CHANNELS_BEGIN] : group[layout.CHANNELS_END], layout.C_RESULT]
        return (place[:, None] + channel * step[:, None] - start) // tile_width, none

    @staticmethod
    def _writers(group: Ints, rows: Ints, sums: Ints) -> Ints:
        """What writes the results of a group: place, stride of a channel, and whether it adds, as a view."""
        if group[layout.ROWS_FIRST] and group[layout.NODES_END] > group[layout.NODES_BEGIN]:
            return sums[group[layout.NODES_BEGIN] : group[layout.NODES_END], layout.SUM_RESULT : layout.SUM_ADD + 1]
        return rows[group[layout.ROWS_BEGIN] : group[layout.ROWS_END], layout.RESULT : layout.ADD + 1]

    def finish(self, dtype: str, vectors: int) -> ContractionProgram:
        """Put the tables together, and find out which results are added to and which must be zero before."""
        plan, tile_width = self.plan, self.tile_width
        groups = np.array(self.groups, dtype=np.int64).reshape(-1, layout.GROUP_COLUMNS)
        channels = np.concatenate([np.zeros((0, 5), dtype=np.int64), *self.channels])
        rows = np.concatenate([np.zeros((0, layout.ADD + 1), dtype=np.int64), *self.rows])
        sums = np.concatenate([np.zeros((0, layout.SUM_FIELDS), dtype=np.int64), *self.sums])
        factors = np.concatenate([np.zeros((0, 3), dtype=np.int64), *self.factors])
        start, size = self.starts[plan.output], plan.sizes[plan.output]
        writers = np.zeros(size, dtype=np.int64)
        targets = [self._targets(group, rows, sums, channels) for group in groups]
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
                self._writers(group, rows, sums)[:, -1] = adds
                alone[by_rows[~adds].ravel()] = True
        edges = np.flatnonzero(np.diff(np.concatenate([[0], ~alone, [0]]).astype(np.int8))).reshape(-1, 2)
        buffer, operands = place_arrays(plan, self.starts, self.arena, self.vector_length)
        if self.compact is not None:
            operands[self.compact, layout.SHARED] = layout.COMPACT
        zeros = np.ascontiguousarray(start + edges * tile_width)
        for table in (operands, groups, channels, rows, sums, zeros):
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
            sums=sums,
            factors=np.ascontiguousarray(factors[:, :2], dtype=np.int32),
            signs=factors[:, 2].astype(dtype),
            zeros=zeros,
            nodes=self.nodes,
            buffer=buffer,
            flops=self.flops,
        )
