"""The edges of a graph: who sends to whom, in the orders that sums over them are taken in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import check_degree

Indices = npt.NDArray[np.int32]

SENDERS, RECEIVERS, PAIRS = "senders", "receivers", "pairs"
_MOST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class EdgeOrder:
    """Edges sorted by the node at one of their ends, or by pair; those of one stay in the order that they came in.

    Attributes:
        edges: the number of each edge, shape ``(num_edges,)``; None if the edges were given in this order.
        senders, receivers, pairs: of the edges in this order; ``pairs`` is None where edges have none.
        starts: where the edges of each node begin, shape ``(nodes + 1,)``.
    """

    edges: Indices | None
    senders: Indices
    receivers: Indices
    pairs: Indices | None
    starts: npt.NDArray[np.int64]

    @cached_property
    def isolated(self) -> npt.NDArray[np.intp]:
        """The nodes that no edge ends at."""
        return np.flatnonzero(np.diff(self.starts) == 0)


class Edges:
    """The edges of a graph, checked once and never changed.

    Args:
        senders: the node that each edge starts from, integers of shape ``(num_edges,)``.
        receivers: the node that it ends at, of the same shape; in any order, and edges may be repeated.
        num_nodes: the number of nodes, to which the receivers belong.
        num_senders: the number of nodes that send, if they are others (a bipartite graph); ``num_nodes`` by default.
        pairs: the number of the row of weights that each edge reads, if edges share them, as the two directions of a
            bond do whose weights are functions of its length.
        num_pairs: the number of these rows; by default, one more than the largest of ``pairs``.

    Raises:
        TypeError: ``senders`` or ``receivers`` do not hold integers, or are not arrays of the processor's memory.
        ValueError: a shape that does not fit, or an index out of range; the message names the edge.

    Example:
        >>> import tpnumba as tp
        >>> tp.Edges([0, 1, 2], [1, 2, 1], 3)
        Edges(3 edges, 3 nodes)
    """

    senders: Indices
    receivers: Indices
    num_nodes: int
    num_senders: int
    pairs: Indices | None
    num_pairs: int

    def __init__(
        self,
        senders: Any,
        receivers: Any,
        num_nodes: int,
        *,
        num_senders: int | None = None,
        pairs: Any = None,
        num_pairs: int | None = None,
    ) -> None:
        nodes = check_degree("num_nodes", num_nodes)
        sending = nodes if num_senders is None else check_degree("num_senders", num_senders)
        fields: dict[str, Any] = {
            "senders": _indices("senders", senders, sending),
            "receivers": _indices("receivers", receivers, nodes),
            "num_nodes": nodes,
            "num_senders": sending,
        }
        shape = fields["senders"].shape
        if shape != fields["receivers"].shape:
            raise ValueError(f"senders and receivers must have one shape, got {shape} and {fields['receivers'].shape}")
        fields |= _pairs(pairs, num_pairs, shape)
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Edges is frozen; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Edges is frozen; cannot delete {name!r}")

    def __len__(self) -> int:
        return int(self.senders.shape[0])

    def __repr__(self) -> str:
        others = "" if self.num_senders == self.num_nodes else f", {self.num_senders} senders"
        return f"Edges({len(self)} edges, {self.num_nodes} nodes{others})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edges):
            return NotImplemented
        return self is other or (
            (self.num_nodes, self.num_senders) == (other.num_nodes, other.num_senders)
            and np.array_equal(self.senders, other.senders)
            and np.array_equal(self.receivers, other.receivers)
            and (self.pairs is None) == (other.pairs is None)
            and (self.pairs is None or np.array_equal(self.pairs, other.pairs))  # type: ignore[arg-type]
            and self.num_pairs == other.num_pairs
        )

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        counts = self.num_pairs if self.pairs is not None else None
        return _rebuild, (self.senders, self.receivers, self.num_nodes, self.num_senders, self.pairs, counts)

    @cached_property
    def _hash(self) -> int:
        pairs = b"" if self.pairs is None else self.pairs.tobytes()
        return hash((self.num_nodes, self.num_senders, self.senders.tobytes(), self.receivers.tobytes(), pairs))

    def count(self, end: str) -> int:
        """The number of nodes at the ``senders``' or ``receivers``' end, or of ``pairs``."""
        return {SENDERS: self.num_senders, RECEIVERS: self.num_nodes, PAIRS: self.num_pairs}[end]

    def order(self, end: str) -> EdgeOrder:
        """The edges sorted by their ``senders``, ``receivers`` or ``pairs``."""
        return {SENDERS: self.by_sender, RECEIVERS: self.by_receiver}[end] if end != PAIRS else self.by_pair

    @cached_property
    def by_receiver(self) -> EdgeOrder:
        """The edges sorted by their receivers."""
        return _sorted(self, self.receivers, self.num_nodes)

    @cached_property
    def by_sender(self) -> EdgeOrder:
        """The edges sorted by their senders."""
        return _sorted(self, self.senders, self.num_senders)

    @cached_property
    def by_pair(self) -> EdgeOrder:
        """The edges sorted by their pairs."""
        assert self.pairs is not None
        return _sorted(self, self.pairs, self.num_pairs)


def _sorted(edges: Edges, keys: Indices, nodes: int) -> EdgeOrder:
    starts = np.zeros(nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=nodes), out=starts[1:])
    starts.setflags(write=False)
    if bool(np.all(keys[1:] >= keys[:-1])):
        return EdgeOrder(None, edges.senders, edges.receivers, edges.pairs, starts)
    order = np.argsort(keys, kind="stable").astype(np.int32)
    senders, receivers = edges.senders[order], edges.receivers[order]
    pairs = None if edges.pairs is None else edges.pairs[order]
    for array in (order, senders, receivers, pairs):
        if array is not None:
            array.setflags(write=False)
    return EdgeOrder(order, senders, receivers, pairs, starts)


def _pairs(pairs: Any, num_pairs: int | None, shape: tuple[int, ...]) -> dict[str, Any]:
    if pairs is None:
        if num_pairs is not None:
            raise ValueError("num_pairs was given without pairs")
        return {"pairs": None, "num_pairs": 0}
    if num_pairs is None:
        given = np.asarray(pairs)
        num_pairs = int(given.max()) + 1 if given.size and given.dtype.kind in "iu" else 0
    count = check_degree("num_pairs", num_pairs)
    found = _indices("pairs", pairs, count, "num_pairs")
    if found.shape != shape:
        raise ValueError(f"pairs must have shape {shape}, as senders and receivers, got {found.shape}")
    return {"pairs": found, "num_pairs": count}


def _indices(name: str, values: Any, nodes: int, of: str = "the number of nodes") -> Indices:
    """A read-only copy of indices that are below ``nodes``."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} must have no mask, which would be lost; take {name}.compressed() of both ends")
    try:
        array = np.asarray(values)
    except Exception as error:  # each library of arrays has errors of its own for memory that is not the processor's
        raise TypeError(f"{name} must be integers in the processor's memory, got {type(values).__name__}") from error
    if array.size == 0 and not hasattr(values, "dtype"):
        array = array.astype(np.int32)  # an empty list
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (num_edges,), got {array.shape}")
    if max(array.size, nodes) > _MOST:
        raise ValueError(f"{name}: at most {_MOST:,} edges and nodes, got {array.size:,} edges, {nodes:,} nodes")
    wrong = np.flatnonzero((array < 0) | (array >= nodes))
    if wrong.size:
        edge = int(wrong[0])
        raise ValueError(f"{name}[{edge}] must be at least 0 and below {nodes}, {of}, got {array[edge]}")
    found = array.astype(np.int32)  # always a copy
    found.setflags(write=False)
    return found


def _rebuild(
    senders: Indices, receivers: Indices, num_nodes: int, num_senders: int, pairs: Indices | None, num_pairs: int | None
) -> Edges:
    return Edges(senders, receivers, num_nodes, num_senders=num_senders, pairs=pairs, num_pairs=num_pairs)
