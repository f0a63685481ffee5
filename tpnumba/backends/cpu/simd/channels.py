"""Products with a small matrix for all channels at once: the lanes of a vector are channels.

One sample, one path: components of a source and of a target, each of ``blocks`` columns of channels, are coupled by a
matrix, of which entry (i, o) stands at ``matrix + i * matrix_step + 64 o``, one number for all channels. All places are
addresses, and steps in bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.simd.intrinsics import Flag, Length, Position, on_columns, on_vectors


class Coupled(NamedTuple):
    """What one path reads: see the head of this file.

    ``weights`` move on by ``weights_step`` a vector of channels: 64, or 0 for one vector that serves all.
    """

    source: Position
    source_step: Position
    terms: Position
    target: Position
    target_step: Position
    weights: Position
    weights_step: Position
    matrix: Position
    matrix_step: Position
    blocks: Position


def _at(emit, place, *moves):
    """The vector at an address, moved by pairs of times and steps."""
    return emit.load_from(_pointer(emit, place, *moves), align=emit.item_bytes)


def _pointer(emit, place, *moves):
    for times, step in moves:
        place = emit.moved(place, times, ir.Constant(place.type, step) if isinstance(step, int) else step)
    return emit.memory(place)


def _entry(emit, at, i, o):
    """An entry of the matrix for every channel."""
    return emit.splat(emit.builder.load(_pointer(emit, at.matrix, (i, at.matrix_step), (o, LINE))))


def _weights(emit, at, block):
    """The weights of a block of channels."""
    if emit.vectors == 1:
        return _at(emit, at.weights, (block, at.weights_step))
    size = emit.builder.mul(at.weights_step, ir.Constant(block.type, emit.vectors))
    return _at(emit, at.weights, (block, size))


def _coupled(emit, at, outputs, block):
    """``sum over i of matrix[i, o] source[i]`` for a block of channels, for each o."""

    def term(i, *totals):
        value = _at(emit, at.source, (i, at.source_step), (block, emit.vectors * LINE))
        return [emit.plus(total, emit.times(_entry(emit, at, i, o), value)) for o, total in enumerate(totals)]

    return emit.loop(0, at.terms, [emit.constant(0.0)] * outputs, term)


def _for_blocks(emit, at, write):
    def body(block):
        write(block)
        return ()

    emit.loop(0, at.blocks, [], body)


def _add(emit, value, pointer):
    before = emit.load_from(pointer, align=emit.item_bytes)
    emit.store_to(emit.plus(before, value), pointer, align=emit.item_bytes)


@on_columns
def add_coupled(emit, outputs: Length, at: Coupled):
    """``target[o] += weights * sum over i of matrix[i, o] source[i]``."""

    def write(block):
        totals = _coupled(emit, at, outputs, block)
        weights = _weights(emit, at, block)
        for o, total in enumerate(totals):
            pointer = _pointer(emit, at.target, (o, at.target_step), (block, emit.vectors * LINE))
            _add(emit, emit.times(weights, total), pointer)

    _for_blocks(emit, at, write)


@on_columns
def add_scaled(emit, at: Coupled):
    """``target[o] += weights * matrix[0, 0] * source[o]``."""

    def write(block):
        weights = emit.times(_entry(emit, at, 0, 0), _weights(emit, at, block))

        def component(o):
            value = _at(emit, at.source, (o, at.source_step), (block, emit.vectors * LINE))
            pointer = _pointer(emit, at.target, (o, at.target_step), (block, emit.vectors * LINE))
            _add(emit, emit.times(weights, value), pointer)
            return ()

        emit.loop(0, at.terms, [], component)

    _for_blocks(emit, at, write)


def _put_weights(emit, at, block, value, add):
    step = emit.builder.mul(at.weights_step, ir.Constant(block.type, emit.vectors))
    pointer = _pointer(emit, at.weights, (block, step))
    value = emit.when(add, lambda: emit.plus(value, emit.load_from(pointer, align=emit.item_bytes)), value)
    emit.store_to(value, pointer, align=emit.item_bytes)


@on_columns
def pull_weights(emit, outputs: Length, at: Coupled, add: Flag):
    """``weights (+)= sum over i and o of target[o] matrix[i, o] source[i]``."""

    def write(block):
        value = None
        for o, total in enumerate(_coupled(emit, at, outputs, block)):
            target = _at(emit, at.target, (o, at.target_step), (block, emit.vectors * LINE))
            product = emit.times(target, total)
            value = product if value is None else emit.plus(value, product)
        _put_weights(emit, at, block, value, add)

    _for_blocks(emit, at, write)


def _dot(emit, at, block):
    """``sum over o of target[o] source[o]`` for a block of channels."""

    def component(o, total):
        source = _at(emit, at.source, (o, at.source_step), (block, emit.vectors * LINE))
        target = _at(emit, at.target, (o, at.target_step), (block, emit.vectors * LINE))
        return (emit.plus(total, emit.times(source, target)),)

    (total,) = emit.loop(0, at.terms, [emit.constant(0.0)], component)
    return total


@on_columns
def pull_weights_scaled(emit, at: Coupled):
    """``weights = matrix[0, 0] * sum over o of target[o] source[o]``."""

    def write(block):
        value = emit.times(_entry(emit, at, 0, 0), _dot(emit, at, block))
        step = emit.builder.mul(at.weights_step, ir.Constant(block.type, emit.vectors))
        emit.store_to(value, _pointer(emit, at.weights, (block, step)), align=emit.item_bytes)

    _for_blocks(emit, at, write)


@on_vectors
def pull_matrix(emit, outputs: Length, at: Coupled):
    """``matrix[i, o] = weights * target[o] * source[i]``, summed over the vectors of channels, lane by lane.

    Entry (i, o) is a vector here.
    """

    def component(i):
        def term(block, *totals):
            source = _at(emit, at.source, (i, at.source_step), (block, LINE))
            value = emit.times(source, _at(emit, at.weights, (block, at.weights_step)))
            return [
                emit.plus(total, emit.times(value, _at(emit, at.target, (o, at.target_step), (block, LINE))))
                for o, total in enumerate(totals)
            ]

        for o, total in enumerate(emit.loop(0, at.blocks, [emit.constant(0.0)] * outputs, term)):
            emit.store_to(total, _pointer(emit, at.matrix, (i, at.matrix_step), (o, LINE)))
        return ()

    emit.loop(0, at.terms, [], component)


@on_vectors
def pull_matrix_scaled(emit, at: Coupled):
    """The same for a multiple of one: its factor, as a vector."""

    def term(block, total):
        return (emit.plus(total, emit.times(_at(emit, at.weights, (block, at.weights_step)), _dot(emit, at, block))),)

    (total,) = emit.loop(0, at.blocks, [emit.constant(0.0)], term)
    emit.store_to(total, _pointer(emit, at.matrix))
