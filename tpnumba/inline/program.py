"""A form of one sample as nests of loops over channels, with sums of products in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.plans.contraction import PAIR, Contraction, Path, channel_extents

Ints = npt.NDArray[np.int64]

#: Operations of straight-line code, of all nests together; what is beyond is a loop over tables. Code is 2 to 6 times
#: as quick as tables (float64: full L = 3 0.23 against 1.33 microseconds, Gaunt L = 5 2.1 against 4.3), and takes LLVM
#: 0.17 ms an operation: 0.2 s at L = 2, 0.7 s for the full product of L = 3, 1.5 s for L = 4, 1.8 s for Gaunt L = 5.
MOST_STRAIGHT = 12_000
#: Terms, of all nests together: in tables, 16 bytes each in float64.
MOST_ENTRIES = 2**19

#: How far a step of each channel letter is, of those that move at all.
Steps = tuple[tuple[str, int], ...]
#: Channel letters and their ranges.
Loops = tuple[tuple[str, int], ...]


class Place(NamedTuple):
    """Where a number stands in an argument: at ``base``, and further on by a step for each channel letter."""

    argument: int
    base: int
    steps: Steps


@dataclass(frozen=True, slots=True)
class Term:
    """A coefficient times a number of each feature."""

    value: float
    factors: tuple[Place, ...]


@dataclass(slots=True)
class Part:
    """The terms of a sum that have the same weights: the sum over ``summed`` of the product of these stands before."""

    weights: tuple[Place, ...]
    summed: Loops
    terms: list[Term]


@dataclass(slots=True)
class Sum:
    """What is added to one number of the result, or, along the letters ``spread``, to several.

    ``adds`` if others add to that number too; it is written otherwise.
    """

    to: Place
    spread: Loops
    parts: list[Part]
    adds: bool = True


#: The sums inside of the same loops, by their spread letters and their place.
Nests = dict[Loops, dict[tuple[Loops, Place], Sum]]


@dataclass(frozen=True, slots=True)
class Nest:
    """Sums inside of the same loops.

    ``is_straight``: written out term by term, and not as a loop over tables.
    """

    loops: Loops
    sums: tuple[Sum, ...]
    is_straight: bool

    @property
    def entries(self) -> int:
        """The number of terms."""
        return sum(len(part.terms) for one in self.sums for part in one.parts)


@dataclass(frozen=True, slots=True)
class Program:
    """A form as nests of loops; before them ``zeroed``, ranges of the result, are set to zero.

    Attributes:
        sizes: of the arguments, the result last.
        nests: one after the other.
        zeroed: first number and the one after the last.
    """

    sizes: tuple[int, ...]
    nests: tuple[Nest, ...]
    zeroed: tuple[tuple[int, int], ...]

    @property
    def entries(self) -> int:
        """The number of terms."""
        return sum(nest.entries for nest in self.nests)


def program_of(form: Contraction, argument_operands: tuple[int, ...]) -> Program:
    """The program of a form.

    Args:
        form: with the output that is asked for.
        argument_operands: the operand that each argument stands for; those from the third on stand side by side in it.

    Raises:
        ValueError: there are more terms than a kernel may have.
    """
    arguments = {operand: (min(i, 2), 0) for i, operand in enumerate(argument_operands)}
    ends = np.cumsum([0, *(form.sizes[operand] for operand in argument_operands[2:])]).tolist()
    arguments.update({operand: (2, start) for operand, start in zip(argument_operands[2:], ends, strict=False)})
    counts = [form.sizes[operand] for operand in argument_operands[:2]] + ends[-1:] * (len(argument_operands) > 2)
    arguments[form.output] = len(counts), 0
    entries = sum(path.coupling.sparse.values.size for path in form.paths)
    if entries > MOST_ENTRIES:
        raise ValueError(
            f"a kernel inside of loops may have {MOST_ENTRIES:,} terms, and this product has {entries:,}; "
            "call it with arrays, or with a smaller lmax"
        )
    sums: Nests = {}
    for path in sorted(form.paths, key=lambda path: [-1 if place is None else place for place in path.segments]):
        if path.segments[form.output] is not None and path.scale != 0 and path.coupling.sparse.values.size:
            _add_path(sums, form, path, arguments)
    straight = _straight(sums)
    written = _mark_shared(sums, straight, form.sizes[form.output])
    nests = tuple(Nest(loops, tuple(nest.values()), loops in straight) for loops, nest in sums.items())
    return Program((*counts, form.sizes[form.output]), nests, tuple(_ranges(~written)))


def _add_path(
    sums: Nests,
    form: Contraction,
    path: Path,
    arguments: dict[int, tuple[int, int]],
) -> None:
    """The terms of a path, in the nest of its loops and in the sums of its results."""
    extents = channel_extents(path, form.operands)
    used = [i for i, place in enumerate(path.segments) if place is not None]
    inputs = [i for i in used if i != form.output]
    features = [i for i in inputs if path.legs[i] is not None]
    letters = {i: path.letters(i) for i in used}
    every = {letter for i in used for letter in letters[i]}
    if any(extents[letter] == 0 for letter in every):
        return
    outer = {letter for i in features for letter in letters[i]}
    if PAIR in every:  # its loops are those of u and v
        outer = (outer | {PAIR}) - {"u", "v"}
        every -= {"u", "v"}
    inner = {letter for letter in every - outer if extents[letter] > 1}
    of_out = set(letters[form.output])
    loops = tuple((letter, extents[letter]) for letter in sorted(outer) if extents[letter] > 1 or letter == PAIR)
    if PAIR in every:
        loops = tuple((letter, extents["u"] if letter == PAIR else extent) for letter, extent in loops)
    spread = tuple((letter, extents[letter]) for letter in sorted(inner & of_out))
    summed = tuple((letter, extents[letter]) for letter in sorted(inner - of_out))

    def place(i: int, component: int) -> Place:
        operand = form.operands[i]
        number = path.segments[i]
        assert number is not None
        segment = operand.segments[number]
        per_channel, per_component = (segment.dim, 1) if operand.layout == "mul_ir" else (1, segment.mul)
        steps, step = [], per_channel
        for letter in reversed(letters[i]):
            if extents[letter] > 1:
                steps.append((letter, step))
            step *= extents[letter]
        argument, start = arguments[i]
        return Place(argument, start + segment.offset + component * per_component, tuple(sorted(steps)))

    table = path.coupling.sparse
    weights = tuple(place(i, 0) for i in inputs if path.legs[i] is None)
    leg = path.legs[form.output]
    known = {i: [place(i, c) for c in range(table.shape[_leg(path, i)])] for i in features}
    results = [place(form.output, c) for c in range(1 if leg is None else table.shape[leg])]
    nest = sums.setdefault(loops, {})
    for n, value in enumerate(table.values.tolist()):
        to = results[0 if leg is None else int(table.coords[leg, n])]
        one = nest.setdefault((spread, to), Sum(to, spread, []))
        part = next((own for own in one.parts if (own.weights, own.summed) == (weights, summed)), None)
        if part is None:
            part = Part(weights, summed, [])
            one.parts.append(part)
        factors = tuple(known[i][int(table.coords[_leg(path, i), n])] for i in features)
        part.terms.append(Term(value * path.scale, factors))


def _leg(path: Path, i: int) -> int:
    leg = path.legs[i]
    assert leg is not None
    return leg


def _mark_shared(sums: Nests, straight: set[Loops], size: int) -> npt.NDArray[np.bool_]:
    """Say of each sum whether its numbers are written by it alone; returns which numbers are.

    In a table, each part of a sum is written by itself.
    """
    writers = np.zeros(size, dtype=np.int64)
    found: list[tuple[Sum, Ints]] = []
    for loops, nest in sums.items():
        for one in nest.values():
            steps = dict(one.to.steps)
            ranges = dict((*loops, *one.spread))
            places = np.array([one.to.base])
            if PAIR in ranges:
                ranges = {**ranges, "u": ranges[PAIR], "v": ranges[PAIR]}
                ranges[PAIR] = ranges["u"] * (ranges["u"] - 1) // 2
            for letter, step in steps.items():
                places = (places[:, None] + step * np.arange(ranges[letter])).ravel()
            repeated = any(letter not in steps for letter, _ in loops)
            repeated |= loops not in straight and len(one.parts) > 1
            np.add.at(writers, places, 2 if repeated else 1)
            found.append((one, places))
    for one, places in found:
        one.adds = bool(np.any(writers[places] > 1))
    written = np.zeros(size, dtype=np.bool_)
    for one, places in found:
        if not one.adds:
            written[places] = True
    return written


def _straight(sums: Nests) -> set[Loops]:
    """The nests that are straight: the smallest, as long as there is room."""
    operations = {loops: sum(map(_operations, nest.values())) for loops, nest in sums.items()}
    straight, room = set(), MOST_STRAIGHT
    for loops in sorted(operations, key=lambda loops: operations[loops]):
        room -= operations[loops]
        if room >= 0:
            straight.add(loops)
    return straight


def _operations(one: Sum) -> int:
    return 2 + sum(len(part.terms) * len(part.terms[0].factors) for part in one.parts)


def _ranges(chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The stretches of numbers that are chosen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    yield from ((int(start), int(stop)) for start, stop in edges.reshape(-1, 2))


@dataclass(frozen=True, slots=True)
class Table:
    """Sums of a nest, a part each, whose places differ in nothing but their bases.

    Attributes:
        first: the first of them.
        part: its part.
        results: the base of each sum's result, shape ``(sums,)``.
        weights: of its weights, shape ``(sums, weights)``.
        starts: where its terms start, and after the last, shape ``(sums + 1,)``.
        factors: the bases of the factors of terms, shape ``(terms, features)``.
        values: the coefficients, shape ``(terms,)``.
        adds: whether others add to its numbers.
    """

    first: Sum
    part: Part
    results: Ints
    weights: Ints
    starts: Ints
    factors: Ints
    values: npt.NDArray[np.float64]


def tables_of(nest: Nest) -> Iterator[Table]:
    """The sums of a nest as tables."""
    alike: dict[object, list[tuple[Sum, Part]]] = {}
    for one in nest.sums:
        for part in one.parts:
            weights = tuple(place.steps for place in part.weights)
            factors = tuple((place.argument, place.steps) for place in part.terms[0].factors)
            key = one.adds, one.to.steps, one.spread, part.summed, weights, factors
            alike.setdefault(key, []).append((one, part))
    for gathered in alike.values():
        terms = [term for _, part in gathered for term in part.terms]
        counts = [len(part.terms) for _, part in gathered]
        yield Table(
            *gathered[0],
            np.array([one.to.base for one, _ in gathered]),
            np.array([[place.base for place in part.weights] for _, part in gathered]).reshape(len(gathered), -1),
            np.concatenate([[0], np.cumsum(counts)]),
            np.array([[place.base for place in term.factors] for term in terms]).reshape(len(terms), -1),
            np.array([term.value for term in terms]),
        )
