"""The cheapest order in which to multiply the factors of one term, two at a time.

Sizes count only what the sparse coupling can reach: ``x_a y_b`` is formed for pairs (a, b) that occur in it. The choice
is made for a nominal batch, never for the batch at hand, so that results do not depend on how samples are grouped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np
import numpy.typing as npt

BATCH = "N"
NOMINAL_BATCH = 1024


@dataclass(frozen=True)
class Step:
    """Multiply the factors at places ``left`` and ``right``, sum what is not in ``letters``, append the result."""

    left: int
    right: int
    letters: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """Steps of a term.

    ``flops``: operations a sample, and once for all; ``workspace``: numbers a sample of all dense intermediates.
    """

    steps: tuple[Step, ...]
    flops: tuple[int, int]
    workspace: int


class _Sizes:
    """How many numbers a set of letters stands for."""

    def __init__(self, extents: Mapping[str, int], coords: Mapping[str, npt.NDArray[np.int64]]) -> None:
        self._extents = extents
        self._coords = coords
        self._reached: dict[frozenset[str], int] = {}

    def sparse(self, letters: frozenset[str]) -> int:
        """Without the batch: channels times the combinations of components that occur in the coupling."""
        components = letters.intersection(self._coords)
        if components not in self._reached:
            place = np.zeros(1, dtype=np.int64)
            for letter in components:
                place = place * self._extents[letter] + self._coords[letter]
            self._reached[components] = np.unique(place).size
        channels = letters - components - {BATCH}
        size = prod(self._extents[letter] for letter in channels)
        if "u<v" in self._extents and {"u", "v"} <= channels:
            size = size // self._extents["u"] ** 2 * self._extents["u<v"] if size else 0
        return size * self._reached[components]

    def dense(self, letters: frozenset[str]) -> int:
        """Without the batch: the product of all ranges."""
        return prod(self._extents[letter] for letter in letters - {BATCH})


def cheapest_order(
    factors: Sequence[tuple[str, ...]],
    output: tuple[str, ...],
    extents: Mapping[str, int],
    coords: Mapping[str, npt.NDArray[np.int64]],
) -> Order:
    """Search all orders of multiplying ``factors`` (at most a handful) into ``output``.

    Args:
        factors: the letters of each factor.
        output: the letters that remain; those that no factor has are left to be spread over afterwards.
        extents: the range of each letter but the batch.
        coords: for the letters of the coupling, their value at each non-zero.
    """
    sizes = _Sizes(extents, coords)
    output = tuple(letter for letter in output if any(letter in factor for factor in factors))
    count = len(factors)
    everything = frozenset(range(count))

    def remaining(inside: frozenset[int]) -> frozenset[str]:
        outside = set(output).union(*(factors[i] for i in everything - inside))
        return frozenset(letter for i in inside for letter in factors[i] if letter in outside)

    # best[subset] = (price, split, operations a sample, operations once)
    best: dict[frozenset[int], tuple[int, tuple[frozenset[int], frozenset[int]] | None, int, int]]
    best = {frozenset([i]): (0, None, 0, 0) for i in range(count)}
    # A single factor keeps all its letters until it is multiplied.
    letters = {frozenset([i]): frozenset(factors[i]) for i in range(count)}
    for width in range(2, count + 1):
        for chosen in combinations(range(count), width):
            subset = frozenset(chosen)
            letters[subset] = remaining(subset)
            candidates = []
            for left_width in range(1, width // 2 + 1):
                for left_chosen in combinations(chosen, left_width):
                    left = frozenset(left_chosen)
                    right = subset - left
                    union = letters[left] | letters[right]
                    operations = sizes.sparse(union) * (1 if union == letters[subset] else 2)
                    per_sample = operations if BATCH in union else 0
                    once = 0 if BATCH in union else operations
                    per_sample += best[left][2] + best[right][2]
                    once += best[left][3] + best[right][3]
                    candidates.append((per_sample * NOMINAL_BATCH + once, (left, right), per_sample, once))
            best[subset] = min(candidates, key=lambda candidate: candidate[0])

    steps: list[Step] = []
    workspace = 0

    def emit(subset: frozenset[int]) -> int:
        nonlocal workspace
        split = best[subset][1]
        if split is None:
            return next(iter(subset))
        left, right = emit(split[0]), emit(split[1])
        remaining = output if subset == everything else tuple(sorted(letters[subset]))
        # Twice: a step may have to copy a factor into the order that a matrix product wants.
        workspace += 2 * sizes.dense(letters[subset]) if BATCH in letters[subset] else 0
        steps.append(Step(left, right, remaining))
        return count + len(steps) - 1

    emit(everything)
    return Order(tuple(steps), best[everything][2:], workspace)
