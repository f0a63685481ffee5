"""The eight pieces of four cubes each, as graphs: two of them are mirror images of each other."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.edges import Edges

Array = npt.NDArray[np.floating]

#: Cubes that are closer than this are neighbours; those that share a face have distance 1.
RADIUS = 1.1

_SCREW = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1))
#: The centres of the cubes of each piece. The first two are the mirror images.
PIECES = {
    "right screw": _SCREW,
    "left screw": tuple((x, y, -z) for x, y, z in _SCREW),
    "square": ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)),
    "line": ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)),
    "corner": ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "L": ((0, 0, 0), (1, 0, 0), (2, 0, 0), (2, 1, 0)),
    "T": ((0, 0, 0), (1, 0, 0), (2, 0, 0), (1, 1, 0)),
    "zigzag": ((0, 0, 0), (1, 0, 0), (1, 1, 0), (2, 1, 0)),
}
CUBES = 4


class Stack(NamedTuple):
    """All pieces, once for each rotation, as one graph.

    Attributes:
        edges: between neighbouring cubes, in both directions.
        vectors: from the receiver of each edge to its sender, shape ``(num_edges, 3)``.
        neighbours: of each cube, how many there are, shape ``(nodes, 1)``.
    """

    edges: Edges
    vectors: Array
    neighbours: Array

    @property
    def pieces(self) -> int:
        """How many pieces are stacked; the cubes of one follow each other."""
        return self.edges.num_nodes // CUBES


def stack(rotations: Array, dtype: str = "float64") -> Stack:
    """The eight pieces turned by each of the rotations, shape ``(n, 3, 3)``."""
    edges = _edges(len(rotations))
    centres = np.array(list(PIECES.values()), dtype=np.float64)
    turned = np.einsum("nij,pcj->npci", rotations, centres).reshape(-1, 3)
    vectors = turned[edges.senders] - turned[edges.receivers]
    neighbours = np.bincount(edges.receivers, minlength=edges.num_nodes)[:, None]
    return Stack(edges, vectors.astype(dtype), neighbours.astype(dtype))


@lru_cache(maxsize=8)
def _edges(copies: int) -> Edges:
    """The neighbours within each piece, of so many copies of all pieces."""
    senders, receivers = [], []
    for number, cubes in enumerate(PIECES.values()):
        distances = np.linalg.norm(np.subtract.outer(cubes, cubes).diagonal(axis1=1, axis2=3), axis=-1)
        pairs = np.argwhere((distances < RADIUS) & ~np.eye(CUBES, dtype=bool)) + CUBES * number
        senders.append(pairs[:, 0])
        receivers.append(pairs[:, 1])
    nodes = CUBES * len(PIECES)
    shifts = nodes * np.arange(copies)[:, None]
    from_, to = ((shifts + np.concatenate(ends)).reshape(-1) for ends in (senders, receivers))
    return Edges(from_, to, nodes * copies)
