"""Products of two components, put together where they are coupled alike.

Two products whose coefficients agree up to signs in every sum that they are terms of are replaced by their sum and
their difference, each of which is then a term of some of these sums only: ``c (p + q)`` in place of ``c p + c q``.
What is found that way is tried again. Couplings of real harmonics are full of such pairs, as each is a few complex
coefficients in disguise, and so are products that do not tell their factors apart.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
#: A sum of products with signs, ``(left, right, sign)``, the first of them plus.
Node = tuple[tuple[int, int, int], ...]
#: Coefficients that differ by less than this share of them are equal: they come from tables in float64.
_DIGITS = 12


@dataclass(frozen=True)
class Nodes:
    """Sums of products, and sums of these; read-only.

    Attributes:
        begin: where the products of each node begin, and where the last ones end.
        left, right: the factors of each product.
        sign: of each product, 1 or -1; that of the first of a node is 1.
        row, node, value: of each term, the sum that it belongs to, the node and the coefficient, by row and node.
    """

    begin: Ints
    left: Ints
    right: Ints
    sign: Ints
    row: Ints
    node: Ints
    value: npt.NDArray[np.float64]


def combine_products(left: Ints, right: Ints, row: Ints, value: npt.NDArray[np.float64], *, pair: bool) -> Nodes:
    """The nodes of ``sum of value[n] * left[n] * right[n]`` over the n of each row.

    Args:
        left, right: the factors of each term, by number.
        row: the sum that a term belongs to.
        value: its coefficient; those of equal factors and row are added.
        pair: whether products are put together; else each is a node.
    """
    return _combine(left.tobytes(), right.tobytes(), row.tobytes(), value.tobytes(), pair)


@lru_cache(maxsize=512)
def _combine(left: bytes, right: bytes, row: bytes, value: bytes, pair: bool) -> Nodes:
    columns: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    numbers = (np.frombuffer(each, dtype=np.int64).tolist() for each in (left, right, row))
    for a, b, r, v in zip(*numbers, np.frombuffer(value).tolist(), strict=True):
        column = columns[a, b]
        column[r] = column.get(r, 0.0) + v
    nodes: list[tuple[Node, dict[int, float]]] = [(((*factors, 1),), columns[factors]) for factors in sorted(columns)]
    while pair:
        nodes, pair = _pair(nodes)
    begin = np.cumsum([0, *(len(products) for products, _ in nodes)])
    products = np.array([product for node, _ in nodes for product in node], dtype=np.int64).reshape(-1, 3)
    terms = sorted((r, n, v) for n, (_, column) in enumerate(nodes) for r, v in column.items())
    rows = np.array([term[:2] for term in terms], dtype=np.int64).reshape(-1, 2)
    values = np.array([term[2] for term in terms], dtype=np.float64)
    left_factor, right_factor, sign = np.ascontiguousarray(products.T)
    of_row, of_node = np.ascontiguousarray(rows.T)
    made = Nodes(begin.astype(np.int64), left_factor, right_factor, sign, of_row, of_node, values)
    for array in vars(made).values():
        array.flags.writeable = False
    return made


def _pair(nodes: list[tuple[Node, dict[int, float]]]) -> tuple[list[tuple[Node, dict[int, float]]], bool]:
    """Replace pairs of nodes, where that saves operations, by sums and differences; also whether there were any."""
    alike: dict[tuple[tuple[int, float], ...], list[tuple[Node, dict[int, float]]]] = defaultdict(list)
    for node in nodes:
        alike[tuple(sorted((r, float(f"{abs(v):.{_DIGITS}g}")) for r, v in node[1].items()))].append(node)
    found: list[tuple[Node, dict[int, float]]] = []
    changed = False
    for waiting in alike.values():
        while waiting:
            first = waiting.pop(0)
            best, most = None, (0, True)
            for i, other in enumerate(waiting):
                saves = _saved(first, other), _is_mirror(first[0], other[0])
                if saves > most:
                    best, most = i, saves
            if best is None:
                found.append(first)
            else:
                found += _sum_and_difference(first, waiting.pop(best))
                changed = True
    return sorted(found, key=lambda node: node[0]), changed


def _is_mirror(one: Node, other: Node) -> bool:
    """Whether two nodes are each other with the factors exchanged.

    They come first, side by side: so what changes its sign with them is zero, not a rounding, for equal factors.
    """
    return {(b, a) for a, b, _ in one} == {(a, b) for a, b, _ in other}


def _agreeing(one: dict[int, float], other: dict[int, float]) -> list[int]:
    return [r for r, v in one.items() if (v > 0) == (other[r] > 0)]


def _saved(one: tuple[Node, dict[int, float]], other: tuple[Node, dict[int, float]]) -> int:
    """The operations that a sum and a difference save: terms, less the products that are formed twice."""
    terms = len(one[1])
    if len(_agreeing(one[1], other[1])) in (0, terms):
        return terms
    return terms - len(one[0]) - len(other[0])


def _sum_and_difference(
    one: tuple[Node, dict[int, float]], other: tuple[Node, dict[int, float]]
) -> list[tuple[Node, dict[int, float]]]:
    agreeing = set(_agreeing(one[1], other[1]))
    opposite = tuple((a, b, -sign) for a, b, sign in other[0])
    found: list[tuple[Node, dict[int, float]]] = []
    for products, belongs in ((other[0], True), (opposite, False)):
        column = {r: v for r, v in one[1].items() if (r in agreeing) is belongs}
        if column:
            found.append((one[0] + products, column))
    return found
