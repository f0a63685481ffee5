"""Long sums in slices: where there are fewer results than threads, several threads share one; a second step adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tpnumba.backends.gpu.program import Part, Result, Rows

#: Results and samples of a tile, together, that keep the threads of a block busy.
_BUSY = 512
_MOST_SLICES = 32
#: Terms that a slice should have.
_FEWEST_TERMS = 16


def sliced(rows: Rows, samples: int, scratch: int) -> tuple[list[Rows], int]:
    """The operation in two steps, if that pays, and the numbers from ``scratch`` on that lie between them.

    ``samples``: how many a tile will have.
    """
    tasks = samples * sum(result.channels for result in rows.results)
    lengths = [begin[-1] / max(1, begin.size - 1) for begin, _ in rows.combinations]
    work = sum(len(part.terms) * lengths[part.combinations] for result in rows.results for part in result.parts)
    slices = min(_MOST_SLICES, -(-_BUSY // max(1, tasks)), int(work / max(1, len(rows.results)) / _FEWEST_TERMS))
    if slices < 2:
        return [rows], 0
    partial = replace(rows, results=[], combinations=list(rows.combinations), add=False, to_slots=False)
    total = Rows(product=False, add=rows.add, to_slots=rows.to_slots)
    places: dict[int, int] = {}  # the lists of combinations, cut
    end = scratch
    for result in rows.results:
        n = result.channels
        if len(result.parts) >= slices:
            for j in range(slices):
                key = (result.key, j)
                partial.results.append(Result(key, end + j, slices, n, result.parts[j::slices]))
        else:
            parts = tuple(_cut(partial, part, slices, places) for part in result.parts)
            partial.results.append(Result(result.key, end, 1, n * slices, parts))
        starts = end + slices * np.arange(n)
        pairs = np.stack([starts, np.zeros_like(starts), np.zeros_like(starts)], axis=1)
        terms = np.stack([np.arange(slices), np.zeros(slices, dtype=np.int64)], axis=1)
        part = Part(0, len(total.combinations), terms, np.ones(slices))
        total.combinations.append((np.arange(n + 1), pairs))
        total.results.append(Result(len(total.results), result.start, result.step, n, (part,)))
        end += n * slices
    return [partial, total], end - scratch


def _cut(rows: Rows, part: Part, slices: int, places: dict[int, int]) -> Part:
    """A part over all slices of its list of combinations. Each is a channel: that of the result, then the slice.

    Slices take pairs in turn, so that threads beside each other read what stands side by side.
    """
    if part.combinations not in places:
        begin, pairs = rows.combinations[part.combinations]
        starts, counts = np.repeat(begin[:-1], slices), np.repeat(np.diff(begin), slices)
        turn = np.tile(np.arange(slices), begin.size - 1)
        own = -(-(counts - turn) // slices)  # pairs turn, turn + slices, ... of the channel
        ends = np.cumsum([0, *own])
        order = np.repeat(starts + turn - slices * ends[:-1], own) + slices * np.arange(ends[-1])
        places[part.combinations] = len(rows.combinations)
        rows.combinations.append((ends, pairs[order]))
    return replace(part, combinations=places[part.combinations])
