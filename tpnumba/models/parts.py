"""The edges of a graph in parts that are worked at a time: pairs of an edge and its reverse, as both have one length.

What is a function of the length alone, as the weights of the products are, is evaluated once for both. A part has as
many pairs as have their weights in the cache; its edges are sorted by receiver.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.edges import Edges
from tpnumba.models.graphs import Graph

Integers = npt.NDArray[np.int64]

#: Numbers for a pair of atoms and an image must be below this.
_LARGEST = 2**62


class Part(NamedTuple):
    """Edges that are worked at a time.

    Attributes:
        edges: their slice of all edges in the order of the parts.
        pairs: the slice of all pairs.
        graph: the edges, with their pairs counted from the first of the part.
    """

    edges: slice
    pairs: slice
    graph: Edges


class Parts(NamedTuple):
    """All parts.

    Attributes:
        order: the number of each edge, part by part.
        first: the number of one edge of each pair.
        parts: one after the other.
    """

    order: Integers
    first: Integers
    parts: tuple[Part, ...]


def cut(graph: Graph, most: int) -> Parts:
    """The edges of a graph in parts of at most ``most`` pairs."""
    edges = graph.edges
    pair, first = _find_pairs(graph)
    order = np.argsort(pair // most * edges.num_nodes + edges.receivers, kind="stable")
    part = pair[order] // most
    parts = []
    for number in range(-(-first.size // most)):
        start, stop = np.searchsorted(part, (number, number + 1)).tolist()
        pairs = slice(number * most, min((number + 1) * most, first.size))
        some = order[start:stop]
        of_part = Edges(
            edges.senders[some],
            edges.receivers[some],
            edges.num_nodes,
            num_senders=edges.num_senders,
            pairs=pair[some] - pairs.start,
            num_pairs=pairs.stop - pairs.start,
        )
        parts.append(Part(slice(start, stop), pairs, of_part))
    return Parts(order, first, tuple(parts))


def _find_pairs(graph: Graph) -> tuple[Integers, Integers]:
    """The pair of each edge, and the first edge of each pair; an edge whose reverse is missing is a pair by itself."""
    edges, n = graph.edges, max(1, graph.edges.num_nodes)
    every = np.arange(len(edges))
    furthest = int(np.abs(graph.shifts).max(initial=0))
    base = 2 * furthest + 1
    if not len(edges) or n * n * base**3 >= _LARGEST:
        return every, every
    image = (graph.shifts + furthest) @ np.array([base * base, base, 1])
    senders, receivers = edges.senders.astype(np.int64), edges.receivers.astype(np.int64)
    key = (receivers * n + senders) * base**3 + image
    reversed_key = (senders * n + receivers) * base**3 + (base**3 - 1 - image)
    by_key = np.argsort(key, kind="stable")
    place = np.minimum(np.searchsorted(key[by_key], reversed_key), len(edges) - 1)
    reverse = by_key[place]
    reverse = np.where(key[reverse] == reversed_key, reverse, every)
    first = np.minimum(every, reverse)
    number = np.cumsum(first == every) - 1
    return number[first], every[first == every]
