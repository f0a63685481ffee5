"""Blocks of features that a linear map joins, and the tables by which its kernel reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout

Ints = npt.NDArray[np.int64]


class Block(NamedTuple):
    """The place of a block among the components of a feature."""

    start: int
    dim: int
    mul: int


class Group(NamedTuple):
    """Blocks of one dimension that are joined with each other by a matrix: rows for inputs, columns for outputs."""

    inputs: tuple[Block, ...]
    outputs: tuple[Block, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        return sum(block.mul for block in self.inputs), sum(block.mul for block in self.outputs)


class Tables(NamedTuple):
    """What the kernel reads of groups.

    Attributes:
        groups, blocks: see :mod:`tpnumba.backends.cpu.layout`; the addresses of the matrices are left open.
        tile_size: numbers of the tile, and ``products`` where in it the products of a group stand.
        multiplications: for a row.
        outputs: numbers of a row that are written.
    """

    groups: Ints
    blocks: Ints
    tile_size: int
    products: int
    multiplications: int
    outputs: int


def make_tables(groups: Sequence[Group]) -> Tables:
    """The tables of groups."""
    rows: list[tuple[int, ...]] = []
    blocks: list[tuple[int, int, int]] = []
    for group in groups:
        begin = len(blocks)
        blocks += _placed(group.inputs)
        middle = len(blocks)
        blocks += _placed(group.outputs)
        dim, shape = group.inputs[0].dim, group.shape
        places = begin, middle, middle, len(blocks)
        direct = _first_of_matrix(group.inputs), _first_of_matrix(group.outputs)
        rows.append((0, dim, *shape, *places, *direct))
    largest = [
        layout.NETWORK_ROWS * max((group.inputs[0].dim * group.shape[i] for group in groups), default=0)
        for i in range(2)
    ]
    return Tables(
        np.array(rows, np.int64).reshape(-1, layout.GROUP_OF_MAP_FIELDS),
        np.array(blocks, np.int64).reshape(-1, layout.BLOCK_FIELDS),
        sum(largest),
        largest[0],
        sum(group.inputs[0].dim * prod(group.shape) for group in groups),
        sum(block.dim * block.mul for group in groups for block in group.outputs),
    )


def _placed(blocks: Iterable[Block]) -> list[tuple[int, int, int]]:
    found, place = [], 0
    for block in blocks:
        found.append((block.start, block.mul, place))
        place += block.mul
    return found


def _first_of_matrix(blocks: Sequence[Block]) -> int:
    """Where scalars begin that follow each other, and so are a matrix in memory; -1 of other blocks."""
    end = blocks[0].start
    for block in blocks:
        if block.dim != 1 or block.start != end:
            return -1
        end += block.mul
    return blocks[0].start
