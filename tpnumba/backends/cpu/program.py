"""From a contraction to the tables that the kernel reads: what is multiplied, summed and put where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.lanes import (
    ADD,
    AFTER,
    AT,
    BEFORE,
    BEGIN,
    C_RESULT,
    CHANNELS_BEGIN,
    CHANNELS_END,
    COLUMN_STRIDE,
    COMPACT,
    END,
    FIRST,
    FIRST_CHANNEL,
    MIX,
    MIX_ADD,
    MIX_CHANNEL,
    MIX_COMPONENT,
    MIX_COMPONENTS,
    MIX_FROM,
    MIX_THIRD,
    MIX_TO,
    MIX_WEIGHTS,
    OUTER,
    OUTPUT,
    RESULT,
    RESULT_CHANNEL,
    ROWS_BEGIN,
    ROWS_END,
    SECOND,
    SECOND_CHANNEL,
    SHARED,
    SIZE,
)
from tpnumba.backends.cpu.tiles import LONGEST, STRETCH
from tpnumba.plans.contraction import PAIR, Contraction, Path, channel_extents

Ints = npt.NDArray[np.int64]
LINE = 64
#: A tile of at most so many bytes stays in the second cache; runs are shortened, down to one vector, to keep to it.
_TILE_BYTES = 3 * 2**18
VECTORS = (4, 2, 1)
#: A piece of work takes about so many seconds: long enough to be worth a call, short enough to answer Ctrl-C.
_PIECE_SECONDS = 1e-3
_FLOPS_A_SECOND, _BYTES_A_SECOND = 2e10, 5e9
#: Entries of tables beyond which a plan has no program: they would take longer to read than they save.
_MOST_ENTRIES = 2**22


@dataclass(frozen=True)
class Program:
    """The tables of one contraction in one dtype. Read-only; positions in numbers from the start of the tile."""

    vectors: int
    lanes: int
    tile_size: int
    operands: Ints
    groups: Ints
    channels: Ints
    rows: Ints
    places: npt.NDArray[np.int32]
    values: npt.NDArray[np.floating]
    zeros: Ints
    products: int
    buffer: int
    flops: int

    @cached_property
    def seconds(self) -> float:
        """About how long a sample takes on one core; a rough guess is enough to cut work by."""
        numbers = 1 + int(self.operands[:, SIZE].sum())
        return self.flops / _FLOPS_A_SECOND + numbers * self.values.itemsize / _BYTES_A_SECOND

    @cached_property
    def samples(self) -> int:
        """How many samples make a piece of work, in whole tiles."""
        return max(1, int(_PIECE_SECONDS / self.seconds) // self.lanes) * self.lanes


@dataclass(frozen=True)
class _Role:
    """One operand of a path: where it starts, its steps, and its channel in each combination."""

    start: int
    channel_step: int
    component_step: int
    size: int
    channel: Ints


def _weights(path: Path) -> int | None:
    """The operand without components that takes part in a path."""
    return next((i for i, leg in enumerate(path.legs) if leg is None and path.segments[i] is not None), None)


def _components(path: Path) -> list[int]:
    """The operands with components, in order; the last is the one that the others' products are summed into."""
    return [i for i, leg in enumerate(path.legs) if leg is not None]


def _mixes(path: Path) -> bool:
    """Whether weights mix the channels of the third operand (uvw, uuw, u<vw): it has one channel letter, theirs too.

    Then products are formed without weights, for all other channels, and a matrix of weights follows or goes before.
    """
    weight = _weights(path)
    if weight is None:
        return False
    letters = path.letters(weight)
    others = {letter for i in _components(path)[:2] for letter in path.letters(i)}
    mixed = path.letters(_components(path)[2]) == letters[-1:] and letters[-1] not in others
    if PAIR in letters:
        others = {PAIR}
    return mixed and list(letters[:-1]) == sorted(others)


def _compact(plan: Contraction) -> int | None:
    """The weights that stand in a tile as they are, a number and not a run each: one row for all that only mixes."""
    found = {_weights(path) for path in plan.paths} - {None}
    if len(found) != 1 or not all(_mixes(path) for path in plan.paths if _weights(path) is not None):
        return None
    (weight,) = found
    assert weight is not None
    return weight if plan.operands[weight].access == "shared" and weight != plan.output else None


@lru_cache(maxsize=4096)
def program_of(plan: Contraction, dtype: str) -> Program | None:
    """The program of ``plan``; None if the kernel cannot run it.

    It runs paths of three operands with components and at most one without, whose tables have a reasonable size. The
    plan's ``access`` plays no part, but for weights that mix channels.
    """
    fits = all(
        sum(leg is not None for leg in path.legs) == 3 and sum(leg is None for leg in path.legs) <= 1
        for path in plan.paths
    )
    if not fits:
        return None
    compact = _compact(plan)
    return make_program(
        plan.with_access(tuple("shared" if i == compact else "batch" for i in range(len(plan.operands)))), dtype
    )


@lru_cache(maxsize=512)
def make_program(plan: Contraction, dtype: str, vectors: int | None = None) -> Program | None:
    """Build the tables; None if they would be too large. ``vectors``: 64-byte vectors of a run, if not as fits."""
    line = LINE // np.dtype(dtype).itemsize
    compact = _compact(plan)
    largest = max((max(path.coupling.shape) ** 2 for path in plan.paths), default=0)
    scratch = max((_scratch_size(path, plan) for path in plan.paths), default=0)
    total = sum(size for i, size in enumerate(plan.sizes) if i != compact) + largest + scratch
    if vectors is None:
        vectors = next((v for v in VECTORS if total * v * LINE <= _TILE_BYTES), VECTORS[-1])
    builder = _Builder(plan, line, vectors * line, scratch, compact)
    for paths in _alike(plan):
        if not builder.add(paths):
            return None
    return builder.finish(dtype, vectors)


def _scratch_size(path: Path, plan: Contraction) -> int:
    """Runs that the products of a path with mixing weights take before they are mixed."""
    if not _mixes(path):
        return 0
    weight, third = _weights(path), _components(path)[2]
    assert weight is not None
    extents = channel_extents(path, plan.operands)
    leg = path.legs[third]
    assert leg is not None
    return prod(extents[letter] for letter in path.letters(weight)[:-1]) * path.coupling.shape[leg]


def _alike(plan: Contraction) -> list[list[Path]]:
    """Paths that share both factors and their channels: their products are formed once."""
    output = plan.output
    gathered: dict[object, list[Path]] = {}
    for path in plan.paths:
        segments = [plan.operands[i].segments[place] for i, place in enumerate(path.segments) if place is not None]
        if path.segments[output] is None or path.scale == 0 or any(s.mul == 0 for s in segments):
            continue
        left, right, _ = _components(path)
        ranges = tuple(sorted(channel_extents(path, plan.operands).items()))
        key = (path.segments[left], path.segments[right], path.channels, ranges, path.legs)
        alone = output in (left, right) and (len(segments) > 3 or any(s.mul > 1 for s in segments))
        gathered.setdefault((key, path if alone or _mixes(path) else None), []).append(path)
    return list(gathered.values())


class _Builder:
    def __init__(self, plan: Contraction, line: int, lanes: int, scratch: int, compact: int | None) -> None:
        self.plan, self.line, self.lanes, self.compact = plan, line, lanes, compact
        extents = [-(-size // line) * line if i == compact else size * lanes for i, size in enumerate(plan.sizes)]
        ends = [int(end) for end in np.cumsum([0, *extents, scratch * lanes])]
        self.starts, self.scratch, self.products = ends[:-2], ends[-2], ends[-1]
        self.groups: list[list[int]] = []
        self.channels: list[Ints] = []
        self.rows: list[Ints] = []
        self.places: list[Ints] = []
        self.values: list[npt.NDArray[np.float64]] = []
        self.n_channels = self.n_rows = self.n_terms = 0
        self.largest = 0
        self.flops = 0

    def add(self, paths: list[Path]) -> bool:
        """Append a group; False if the tables would grow too large."""
        output = self.plan.output
        left, right, third = _components(paths[0])
        mixes = _mixes(paths[0])
        roles = [self._roles(path, mixes=mixes) for path in paths]
        role, weight = roles[0], _weights(paths[0])
        combinations = role[left].channel.size
        if combinations == 0:
            return True
        mixing, result = [0] * 11, output
        if mixes:
            mixing = self._mixing(paths[0], role)
            weight = None
            result = third if output not in (left, right) else output
        zero = np.zeros(combinations, dtype=np.int64)
        second = zero if weight is None else role[weight].channel
        first_row = self.n_rows
        if result in (left, right):  # products cannot be formed first: one of the two is what is asked for
            other = right if result == left else left
            base = role[third].start if mixes else self.starts[third]
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
        return self.n_terms + self.n_channels + self.n_rows <= _MOST_ENTRIES

    def _mixing(self, path: Path, role: dict[int, _Role]) -> list[int]:
        """The columns of a group that mixes; in ``role`` the third operand gives way to the scratch runs."""
        output, third, weight = self.plan.output, _components(path)[2], _weights(path)
        assert weight is not None
        own, count = role[third], role[weight].channel.size
        mixed = channel_extents(path, self.plan.operands)[path.letters(weight)[-1]]
        role[third] = _Role(self.scratch, own.size * self.lanes, self.lanes, own.size, np.arange(count))
        kind = {third: AFTER, weight: OUTER}.get(output, BEFORE)
        self.flops += 2 * count * mixed * own.size
        return [
            *(kind, count, mixed, own.size, self.scratch),
            *(role[weight].start, int(weight == self.compact), own.start, own.channel_step, own.component_step, 0),
        ]

    def _roles(self, path: Path, *, mixes: bool) -> dict[int, _Role]:
        """Each operand of a path: letters to channel numbers, for every combination of channels.

        The channel that weights mix over takes no part in the combinations.
        """
        extents = channel_extents(path, self.plan.operands)
        letters = {letter for i in range(len(self.plan.operands)) for letter in path.letters(i)}
        if mixes:
            letters -= set(path.letters(_components(path)[2]))
        if PAIR in letters:
            letters -= {"u", "v"}
        order = sorted(letters)
        grids = np.meshgrid(*(np.arange(extents[letter]) for letter in order), indexing="ij")
        index = {letter: grid.ravel() for letter, grid in zip(order, grids, strict=True)}
        count = prod(extents[letter] for letter in order)
        if PAIR in index:
            index["u"], index["v"] = np.stack(np.triu_indices(extents["u"], 1))[:, index[PAIR]]
        roles = {}
        for i, (operand, place) in enumerate(zip(self.plan.operands, path.segments, strict=True)):
            if place is None:
                continue
            segment = operand.segments[place]
            channel = np.zeros(count, dtype=np.int64)
            for letter in path.letters(i):
                channel = channel * extents[letter] + index.get(letter, 0)
            run = 1 if i == self.compact else self.lanes
            channel_step, component_step = (segment.dim, 1) if operand.layout == "mul_ir" else (1, segment.mul)
            start = self.starts[i] + segment.offset * run
            roles[i] = _Role(start, channel_step * run, component_step * run, segment.dim, channel)
        return roles

    def _products(
        self, path: Path, role: dict[int, _Role], components: tuple[int, int, int], weight: int | None, result: int
    ) -> None:
        """A row for each component of the third operand: the sum of products, times a weight."""
        left, right, third = components
        table = path.coupling.sparse
        a, b, k = (table.coords[_leg(path, i)] for i in components)
        order = np.lexsort((b, a, k))
        terms = (a * role[right].size + b)[order] * self.lanes
        component, begin = np.unique(k[order], return_index=True)
        rows = self._append(terms, table.values[order] * path.scale, begin)
        at = role[third].start + component * role[third].component_step
        if result == third:
            if weight is not None:
                rows[:, SECOND], rows[:, SECOND_CHANNEL] = role[weight].start, role[weight].channel_step
            rows[:, RESULT] = at
        else:
            rows[:, FIRST], rows[:, FIRST_CHANNEL] = at, role[third].channel_step
            rows[:, RESULT] = role[result].start
        rows[:, RESULT_CHANNEL] = role[result].channel_step
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
            to, by, k = (table.coords[_leg(path, i)] for i in components)
            pairs.append(to * role[other].size + by)
            terms.append(own[third].start - base + k * own[third].component_step)
            values.append(table.values * path.scale)
        order = np.lexsort((np.concatenate(terms), np.concatenate(pairs)))
        ordered = np.concatenate(terms)[order]
        pair, begin = np.unique(np.concatenate(pairs)[order], return_index=True)
        rows = self._append(ordered, np.concatenate(values)[order], begin)
        rows[:, FIRST] = role[other].start + pair % role[other].size * role[other].component_step
        rows[:, FIRST_CHANNEL] = role[other].channel_step
        if weight is not None:
            rows[:, SECOND], rows[:, SECOND_CHANNEL] = role[weight].start, role[weight].channel_step
        rows[:, RESULT] = role[result].start + pair // role[other].size * role[result].component_step
        rows[:, RESULT_CHANNEL] = role[result].channel_step
        self.flops += (2 * ordered.size + 2 * len(rows)) * role[other].channel.size

    def _append(self, terms: Ints, values: npt.NDArray[np.float64], begin: Ints) -> Ints:
        """New rows over new terms, each from one of ``begin`` to the next."""
        rows = np.zeros((begin.size, ADD + 1), dtype=np.int64)
        rows[:, BEGIN] = self.n_terms + begin
        rows[:, END] = self.n_terms + np.append(begin[1:], terms.size)
        rows[:, FIRST] = rows[:, SECOND] = -1
        self.places.append(terms)
        self.values.append(values)
        self.rows.append(rows)
        self.n_terms += terms.size
        self.n_rows += begin.size
        return rows

    def _targets(self, group: Ints, rows: Ints, channels: Ints) -> tuple[Ints, Ints]:
        """The numbers of the result that the rows of a group write, ``(rows, channels)``, and that its mixing does."""
        none = np.zeros((0, 0), dtype=np.int64)
        start, lanes = self.starts[self.plan.output], self.lanes
        if group[MIX] == AFTER:
            j, k = np.indices((group[MIX_TO], group[MIX_COMPONENTS]))
            return none, (group[MIX_THIRD] + j * group[MIX_CHANNEL] + k * group[MIX_COMPONENT] - start) // lanes
        if group[MIX] == OUTER:
            count = group[MIX_FROM] * group[MIX_TO]
            return none, (group[MIX_WEIGHTS] - start) // lanes + np.arange(count)
        mine = rows[group[ROWS_BEGIN] : group[ROWS_END]]
        channel = channels[group[CHANNELS_BEGIN] : group[CHANNELS_END], C_RESULT]
        return (mine[:, RESULT, None] + channel * mine[:, RESULT_CHANNEL, None] - start) // lanes, none

    def finish(self, dtype: str, vectors: int) -> Program:
        """Put the tables together, and find out which results are added to and which must be zero before."""
        plan, lanes = self.plan, self.lanes
        groups = np.array(self.groups, dtype=np.int64).reshape(-1, MIX_ADD + 1)
        channels = np.concatenate([np.zeros((0, 5), dtype=np.int64), *self.channels])
        rows = np.concatenate([np.zeros((0, ADD + 1), dtype=np.int64), *self.rows])
        start, size = self.starts[plan.output], plan.sizes[plan.output]
        writers = np.zeros(size, dtype=np.int64)
        targets = [self._targets(group, rows, channels) for group in groups]
        for by_rows, by_mixing in targets:
            np.add.at(writers, by_rows.ravel(), 1)
            np.add.at(writers, by_mixing.ravel(), 1)
        alone = np.zeros(size, dtype=bool)
        for group, (by_rows, by_mixing) in zip(groups, targets, strict=True):
            if by_mixing.size:
                group[MIX_ADD] = (writers[by_mixing] > 1).any()
                alone[by_mixing.ravel()] |= not group[MIX_ADD]
            else:
                adds = (writers[by_rows] > 1).any(axis=1)
                rows[group[ROWS_BEGIN] : group[ROWS_END], ADD] = adds
                alone[by_rows[~adds].ravel()] = True
        edges = np.flatnonzero(np.diff(np.concatenate([[0], ~alone, [0]]).astype(np.int8))).reshape(-1, 2)
        buffer = self.products + self.largest * lanes
        totals = buffer + self.line * max(STRETCH * self.line, min(-(-size // self.line) * self.line, LONGEST))
        operands = np.zeros((len(plan.operands), COLUMN_STRIDE + 1), dtype=np.int64)
        operands[:, AT] = self.starts
        operands[:, SIZE] = plan.sizes
        operands[:, COLUMN_STRIDE] = 1
        operands[plan.output, OUTPUT] = totals
        if self.compact is not None:
            operands[self.compact, SHARED] = COMPACT
        zeros = np.ascontiguousarray(start + edges * lanes)
        for table in (operands, groups, channels, rows, zeros):
            table.flags.writeable = False
        return Program(
            vectors=vectors,
            lanes=lanes,
            tile_size=totals + size,
            operands=operands,
            groups=groups,
            channels=channels,
            rows=rows,
            places=np.concatenate([np.zeros(0, dtype=np.int64), *self.places]).astype(np.int32),
            values=np.concatenate([np.zeros(0), *self.values]).astype(dtype),
            zeros=zeros,
            products=self.products,
            buffer=buffer,
            flops=self.flops,
        )


def _leg(path: Path, operand: int) -> int:
    leg = path.legs[operand]
    assert leg is not None
    return leg
