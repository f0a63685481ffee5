"""From a contraction to its program: products and sums over tables; weights that mix channels as matrix products."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tpnumba.backends.gpu.layout import INPUTS, MOST_SAMPLES, Factor
from tpnumba.backends.gpu.tile import program as tile
from tpnumba.backends.gpu.tile.program import Matrix, Part, Sums
from tpnumba.backends.gpu.tile.split_reduction import split_sums
from tpnumba.backends.gpu.tile.tables import pack
from tpnumba.backends.lowering.matrices import Ints
from tpnumba.backends.lowering.paths import (
    are_paths_supported,
    components_of,
    group_paths,
    leg_of,
    mixed_letters,
    mixes,
    scratch_size,
    segment_of,
    steps_of,
    weights_of,
)
from tpnumba.plans.access import Access
from tpnumba.plans.contraction import Contraction, Path, channel_combinations, channel_extents

Channels = dict[int, Ints]


def lower(plan: Contraction, dtype: str) -> tile.Program | None:
    """The program of ``plan``; None if the kernel cannot run it.

    It runs paths of three operands with components and at most one without, whose tables have a reasonable size.
    """
    fits = len(plan.inputs) <= INPUTS and are_paths_supported(plan)
    return _Builder(plan, dtype).program() if fits else None


class _Builder:
    """Collects what becomes of each number of the output.

    ``found``: for every segment and component of the output, its parts and the key of what it is made with.
    """

    def __init__(self, plan: Contraction, dtype: str) -> None:
        self.plan = plan
        self.dtype = dtype
        self.output = plan.operands[plan.output]
        self.groups = group_paths(plan)
        self.wanted = self._wanted_samples()
        self.direct = self._direct()
        self.starts: dict[int, int] = {}
        self.inputs_end = 0
        for i in plan.inputs:
            if i != self.direct:
                self.starts[i] = self.inputs_end
                self.inputs_end += plan.sizes[i]
        self.found: dict[tuple[int, int], list[tuple[object, Part]]] = {}
        self.combinations: list[tuple[Ints, Ints]] = []
        self.mixed: list[Path] = []
        self.entries = 0

    def program(self) -> tile.Program | None:
        """The tables of everything."""
        for paths in self.groups:
            if mixes(paths[0]):
                self.mixed.append(paths[0])
            elif not self._collect(paths):
                return None
        every = list(range(len(self.output.segments)))
        cuts = [every] if self.mixed else self._cut()
        sections = [self._section(segments) for segments in cuts]
        if any(section is None for section in sections):
            return None
        inputs = self.plan.inputs
        return pack(
            [section for section in sections if section is not None],
            inputs,
            tuple(self.plan.sizes[i] for i in inputs),
            self.output.size,
            -1 if self.direct is None else inputs.index(self.direct),
            self.dtype,
            self.wanted,
        )

    def _wanted_samples(self) -> int:
        """Fewer samples a tile where there are channels: the threads of a warp may differ in these just as well."""
        numbers = sum(segment.mul * segment.dim for segment in self.output.segments)
        made = sum(segment.dim for segment in self.output.segments if segment.mul)
        for paths in self.groups:
            if mixes(paths[0]):
                scratch = scratch_size(paths[0], self.plan)
                numbers += scratch
                made += paths[0].coupling.shape[leg_of(paths[0], components_of(paths[0])[2])]
        channels = min(MOST_SAMPLES, max(1, numbers // max(1, made)))
        return MOST_SAMPLES >> (channels.bit_length() - 1)

    def _direct(self) -> int | None:
        """Weights that are read where they stand: one row for all samples, or, in tiles of one, about once each."""
        found = {weights_of(path) for path in self.plan.paths} - {None, self.plan.output}
        if len(found) != 1:
            return None
        (weight,) = found
        assert weight is not None
        return weight if self.wanted == 1 or self.plan.operands[weight].access == Access.SHARED else None

    def _place(self, path: Path, i: int) -> tuple[int, int, int]:
        """Where the numbers of an operand's segment start, and its steps from channel to channel and component."""
        operand = self.plan.operands[i]
        segment = operand.segments[segment_of(path, i)]
        return self.starts.get(i, 0) + segment.offset, *steps_of(operand, segment)

    def _pairs(
        self, path: Path, factors: tuple[int, int], channels: Channels, factor: int | None, to: Ints, n_to: int
    ) -> tuple[Ints, Ints]:
        """For each of ``n_to`` channels of a result, which channels of two factors are multiplied, and of a third."""
        order = np.argsort(to, kind="stable")
        begin = np.searchsorted(to[order], np.arange(n_to + 1))
        columns = [self._place(path, i)[0] + self._place(path, i)[1] * channels[i] for i in factors]
        columns.append(np.zeros_like(to) if factor is None else channels[factor])
        return begin, np.stack(columns, axis=1)[order]

    def _collect(self, paths: list[Path]) -> bool:
        """Note the parts of paths that read the same factors; False if the tables would grow too large."""
        output = self.plan.output
        left, right, third = components_of(paths[0])
        channels = channel_combinations(paths[0], self.plan.operands, mixed_letters(paths[0]))
        self.entries += 3 * channels[left].size * (len(paths) if output in (left, right) else 1)
        if self.entries > tile.MOST_ENTRIES:
            return False
        weight = weights_of(paths[0])
        shared: int | None = None
        for number, path in enumerate(paths):
            place = segment_of(path, output)
            table = path.coupling.sparse
            n_to = self.output.segments[place].mul
            by_leg = {i: table.coords[leg_of(path, i)] for i in (left, right, third)}
            x, y = (third, right) if output == left else (third, left) if output == right else (left, right)
            factor = third if output == weight else weight
            if number == 0 or output in (left, right):
                shared = len(self.combinations)
                self.combinations.append(self._pairs(path, (x, y), channels, factor, channels[output], n_to))
            assert shared is not None
            target = third if output == weight else output
            own = by_leg[target]
            terms = np.stack([by_leg[i] * self._place(path, i)[2] for i in (x, y)], axis=1)
            parity = sum(path.coupling.degrees) % 2
            for k in np.unique(own):
                at = own == k
                order = int(k) - path.coupling.degrees[leg_of(path, target)]
                by: tuple[int, int] | None = None
                if output == weight:
                    start, step, component = self._place(path, third)
                    by = start + int(k) * component, step
                elif weight is not None:
                    by = self._place(path, weight)[:2]
                place_of = (place, 0 if output == weight else int(k))
                found = self.found.setdefault(place_of, [])
                # Results whose components have the same order read the same pairs of components of the factors.
                if output in (left, right):
                    key: object = (place_of, len(found))
                else:
                    before = sum(part.combinations == shared for _, part in found)
                    key = (shared, parity, order, 0 if output == weight else before)
                together = (shared, parity) if output == weight else key
                found.append((together, Part(key, shared, terms[at], table.values[at] * path.scale, by)))
        return True

    def _cut(self) -> list[list[int]]:
        """Put the segments of the output together, as many as are good for a tile; what is made together stays so."""
        segments = self.output.segments
        home = list(range(len(segments)))

        def root(i: int) -> int:
            while home[i] != i:
                home[i] = home[home[i]]
                i = home[i]
            return i

        first: dict[object, int] = {}
        for (segment, _), found in self.found.items():
            key = _key(found)
            home[root(segment)] = root(first.setdefault(key, segment))
        units: dict[int, list[int]] = {}
        for i in range(len(segments)):
            units.setdefault(root(i), []).append(i)
        room = tile.comfortable_size(self.dtype, self.wanted)
        limit = max(room - self.inputs_end, self.inputs_end // 2, 1)
        cuts: list[list[int]] = [[]]
        filled = 0
        for unit in units.values():
            size = sum(segments[i].mul * segments[i].dim for i in unit)
            if cuts[-1] and filled + size > limit:
                cuts.append([])
                filled = 0
            cuts[-1] += unit
            filled += size
        return [sorted(cut) for cut in cuts]

    def _section(self, segments: list[int]) -> tile.Section | None:
        """What makes these segments of the output."""
        output_start = self.inputs_end
        starts, end = {}, output_start
        for i in segments:
            starts[i] = end
            end += self.output.segments[i].mul * self.output.segments[i].dim
        columns = [np.arange(s.offset, s.offset + s.mul * s.dim) for s in (self.output.segments[i] for i in segments)]
        main = Sums(combinations=self.combinations, to_output=True, factor=self._factor_kind())
        reached = 0
        for (place, component), found in self.found.items():
            if place not in starts:
                continue
            segment = self.output.segments[place]
            step, by = steps_of(self.output, segment)
            start = starts[place] + component * by
            main.results.append(tile.Result(_key(found), start, step, segment.mul, tuple(part for _, part in found)))
            reached += segment.mul
        output_end = end
        whole: list[Sums | Matrix] = [main] if main.results else []
        for path in self.mixed:
            whole += self._mixing(path, starts[segment_of(path, self.plan.output)], output_end)
        between = output_end + max((scratch_size(path, self.plan) for path in self.mixed), default=0)
        samples, _ = tile.fitting(between, self.dtype, self.wanted)
        operations: list[Sums | Matrix] = []
        end = between
        for operation in whole:
            if isinstance(operation, Sums) and operation.to_output:
                steps, used = split_sums(operation, samples, between)
                operations += steps
                end = max(end, between + used)
            else:
                operations.append(operation)
        inputs = self.plan.inputs
        return tile.Section(
            phases=[tile.Phase({inputs.index(i): start for i, start in self.starts.items()}, operations)],
            output_start=output_start,
            columns=np.concatenate([np.zeros(0, dtype=np.int64), *columns]),
            zero=bool(self.mixed) or reached < output_end - output_start,
            size=end,
        )

    def _factor_kind(self) -> int:
        if all(part.factor is None for found in self.found.values() for _, part in found):
            return Factor.NO_FACTOR
        return Factor.FROM_TILE if self.direct is None else self.plan.inputs.index(self.direct)

    def _mixing(self, path: Path, output_start: int, scratch: int) -> Iterable[Sums | Matrix]:
        """Products of all channels and a matrix of weights, in the order that the output asks for."""
        output = self.plan.output
        left, right, third = components_of(path)
        weight = weights_of(path)
        assert weight is not None
        channels = channel_combinations(path, self.plan.operands, mixed_letters(path))
        count, size = channels[left].size, path.coupling.shape[leg_of(path, third)]
        mixed = channel_extents(path, self.plan.operands)[path.letters(weight)[-1]]
        own = self._output_place(path, output_start)
        from_direct = Factor.FROM_TILE if self.direct != weight else self.plan.inputs.index(weight)

        def place(i: int) -> tuple[int, int, int]:
            return own if i == output else self._place(path, i)

        w = place(weight)[0], mixed, 1
        g = place(third)
        table = path.coupling.sparse
        by_leg = {i: table.coords[leg_of(path, i)] for i in (left, right, third)}
        values = table.values * path.scale
        products = (scratch, size, 1)  # a row of components for every combination of channels

        def rows(to: int, x: int, y: int, at: tuple[int, int, int], pairs: tuple[Ints, Ints], n_to: int) -> Sums:
            steps = (1 if x == third else self._place(path, x)[2], self._place(path, y)[2])
            terms = np.stack([by_leg[x] * steps[0], by_leg[y] * steps[1]], axis=1)
            results = []
            for k in range(path.coupling.shape[leg_of(path, to)]):
                which = by_leg[to] == k
                parts = (Part(0, 0, terms[which], values[which]),) if which.any() else ()
                results.append(tile.Result(k, at[0] + k * at[2], at[1], n_to, parts))
            return Sums(results, [pairs])

        if output in (left, right):
            other = right if output == left else left
            # T[uv, k] = sum over w of W[uv, w] G[w, k]
            before = Matrix((count, mixed, size), w, g, products, factor=from_direct)
            order = np.argsort(channels[output], kind="stable")
            n_to = self.output.segments[segment_of(path, output)].mul
            begin = np.searchsorted(channels[output][order], np.arange(n_to + 1))
            start, step, _ = self._place(path, other)
            combinations = np.stack(
                [scratch + size * np.arange(count), start + step * channels[other], np.zeros(count, dtype=np.int64)],
                axis=1,
            )[order]
            after = rows(output, third, other, own, (begin, combinations), n_to)
            after.add = after.to_output = True
            return before, after
        pairs = self._pairs(path, (left, right), channels, None, np.arange(count), count)
        before_ = rows(third, left, right, products, pairs, count)
        if output == weight:
            # W[uv, w] = sum over k of T[uv, k] G[w, k]
            to, a, b = (w[0], mixed, 1), (scratch, size, 1), (g[0], g[2], g[1])
            # Where no other path has the same weights, there is nothing to add to.
            shared = sum(other.segments[weight] == path.segments[weight] for other in self.plan.paths) > 1
            return before_, Matrix((count, size, mixed), a, b, to, add=shared, to_output=True)
        # Z[w, k] = sum over uv of W[uv, w] T[uv, k]
        a = (w[0], 1, mixed)
        return before_, Matrix((mixed, count, size), a, products, g, add=True, to_output=True, factor=from_direct)

    def _output_place(self, path: Path, output_start: int) -> tuple[int, int, int]:
        """Where the segment of the output stands among the output_start, and its steps."""
        segment = self.output.segments[segment_of(path, self.plan.output)]
        return output_start, *steps_of(self.output, segment)


def _key(found: list[tuple[object, Part]]) -> tuple[object, ...]:
    """What a result is made with; results of equal key can be made together."""
    return tuple(dict.fromkeys(together for together, _ in found))
