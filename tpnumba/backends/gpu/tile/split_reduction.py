"""Split reductions: where there are fewer results than threads, several threads share a long sum; then one adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tpnumba.backends.gpu.tile.program import Part, Result, Sums

#: Results and samples of a tile, together, that keep the threads of a block busy.
_BUSY = 512
_MOST_SPLITS = 32
#: Terms that a split of a sum should have, at least.
_FEWEST_TERMS = 16


def split_sums(operation: Sums, samples: int, scratch: int) -> tuple[list[Sums], int]:
    """The operation as two, if that pays, and how many numbers, from ``scratch`` on, lie between them.

    ``samples``: how many a tile will have.
    """
    tasks = samples * sum(result.channels for result in operation.results)
    lengths = [begin[-1] / max(1, begin.size - 1) for begin, _ in operation.combinations]
    work = sum(len(part.terms) * lengths[part.combinations] for result in operation.results for part in result.parts)
    splits = min(_MOST_SPLITS, -(-_BUSY // max(1, tasks)), int(work / max(1, len(operation.results)) / _FEWEST_TERMS))
    if splits < 2:
        return [operation], 0
    partial = replace(operation, results=[], combinations=list(operation.combinations), add=False, to_output=False)
    total = Sums(product=False, add=operation.add, to_output=operation.to_output)
    places: dict[int, int] = {}  # the lists of combinations, cut
    end = scratch
    for result in operation.results:
        n = result.channels
        if len(result.parts) >= splits:
            for j in range(splits):
                key = (result.key, j)
                partial.results.append(Result(key, end + j, splits, n, result.parts[j::splits]))
        else:
            parts = tuple(_cut(partial, part, splits, places) for part in result.parts)
            partial.results.append(Result(result.key, end, 1, n * splits, parts))
        starts = end + splits * np.arange(n)
        pairs = np.stack([starts, np.zeros_like(starts), np.zeros_like(starts)], axis=1)
        terms = np.stack([np.arange(splits), np.zeros(splits, dtype=np.int64)], axis=1)
        part = Part(0, len(total.combinations), terms, np.ones(splits))
        total.combinations.append((np.arange(n + 1), pairs))
        total.results.append(Result(len(total.results), result.start, result.step, n, (part,)))
        end += n * splits
    return [partial, total], end - scratch


def _cut(operation: Sums, part: Part, splits: int, places: dict[int, int]) -> Part:
    """A part over all splits of its list of combinations. Each is a channel: that of the result, then the split.

    Splits take pairs in turn, so that threads beside each other read what stands side by side.
    """
    if part.combinations not in places:
        begin, pairs = operation.combinations[part.combinations]
        starts, counts = np.repeat(begin[:-1], splits), np.repeat(np.diff(begin), splits)
        turn = np.tile(np.arange(splits), begin.size - 1)
        own = -(-(counts - turn) // splits)  # pairs turn, turn + splits, ... of the channel
        ends = np.cumsum([0, *own])
        order = np.repeat(starts + turn - splits * ends[:-1], own) + splits * np.arange(ends[-1])
        places[part.combinations] = len(operation.combinations)
        operation.combinations.append((ends, pairs[order]))
    return replace(part, combinations=places[part.combinations])
