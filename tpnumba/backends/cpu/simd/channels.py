"""Products with small matrices for all channels at once: the lanes of a vector are channels.

Some samples, one path: components of a source and of a target, each of ``blocks`` columns of channels, are coupled by a
matrix for each sample. Where the rows of a sample begin is said by tables of addresses; what :class:`Coupled` holds is
counted in bytes from there. Entry (i, o) of the matrix of sample e is a number at ``matrix + i * matrix_step + o * 64 +
e * sample_step``; where matrices are computed it is a line, and samples are counted from the first one.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.simd.codegen import Table
from tpnumba.backends.cpu.simd.intrinsics import Length, Position, on_columns, on_vectors


class Coupled(NamedTuple):
    """What one path reads: see the head of this file.

    ``weights`` move on by ``weights_step`` a vector of channels: 64, or 0 for one vector that serves all. Samples are
    those from ``first`` to ``last``.
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
    sample_step: Position
    blocks: Position
    first: Position
    last: Position


def _pointer(emit, place, *moves):
    for times, step in moves:
        place = emit.moved(place, times, ir.Constant(place.type, step) if isinstance(step, int) else step)
    return emit.memory(place)


def _at(emit, place, *moves):
    """The vector at an address, moved by pairs of times and steps."""
    return emit.load_from(_pointer(emit, place, *moves), align=emit.item_bytes)


def _put(emit, value, place, *moves):
    emit.store_to(value, _pointer(emit, place, *moves), align=emit.item_bytes)


def _from(emit, table, sample, offset):
    """The address ``offset`` bytes into the row of a sample."""
    return emit.builder.add(table.item(sample), offset)


def _entry(emit, at, sample, i, o):
    """An entry of the matrix of a sample for every channel."""
    place = _pointer(emit, at.matrix, (i, at.matrix_step), (o, LINE), (sample, at.sample_step))
    return emit.splat(emit.builder.load(place))


def _weights(emit, at, row, block):
    """The weights of a block of channels."""
    step = emit.builder.mul(at.weights_step, ir.Constant(row.type, emit.vectors))
    return _at(emit, row, (block, step))


def _each(emit, first, last, write):
    def body(n):
        write(n)
        return ()

    emit.loop(first, last, [], body)


@on_columns
def add_coupled(emit, outputs: Length, sources: Table, targets: Table, weights: Table, at: Coupled):
    """``target[o] += weights * sum over i of matrix[i, o] source[i]``; all samples have the target of the first."""
    width = emit.vectors * LINE
    target = _from(emit, targets, at.first, at.target)

    def write(block):
        def sample(e, *totals):
            row = _from(emit, sources, e, at.source)
            factor = _weights(emit, at, _from(emit, weights, e, at.weights), block)

            def term(i, *totals):
                value = emit.times(_at(emit, row, (i, at.source_step), (block, width)), factor)
                return [emit.plus(t, emit.times(_entry(emit, at, e, i, o), value)) for o, t in enumerate(totals)]

            return emit.loop(0, at.terms, totals, term)

        before = [_at(emit, target, (o, at.target_step), (block, width)) for o in range(outputs)]
        for o, total in enumerate(emit.loop(at.first, at.last, before, sample)):
            _put(emit, total, target, (o, at.target_step), (block, width))

    _each(emit, 0, at.blocks, write)


@on_columns
def add_scaled(emit, sources: Table, targets: Table, weights: Table, at: Coupled):
    """``target[o] += weights * matrix[0, 0] * source[o]``; all samples have the target of the first."""
    width = emit.vectors * LINE
    target = _from(emit, targets, at.first, at.target)

    def write(block):
        def component(o):
            def sample(e, total):
                value = _at(emit, _from(emit, sources, e, at.source), (o, at.source_step), (block, width))
                factor = _weights(emit, at, _from(emit, weights, e, at.weights), block)
                return (emit.plus(total, emit.times(_entry(emit, at, e, 0, 0), factor, value)),)

            before = _at(emit, target, (o, at.target_step), (block, width))
            (total,) = emit.loop(at.first, at.last, [before], sample)
            _put(emit, total, target, (o, at.target_step), (block, width))

        _each(emit, 0, at.terms, component)

    _each(emit, 0, at.blocks, write)


def _put_weights(emit, at, row, block, value, add):
    """Write the gradient of weights, or add it where ``add`` is not zero."""
    step = emit.builder.mul(at.weights_step, ir.Constant(row.type, emit.vectors))
    condition = emit.builder.icmp_signed("!=", add, ir.Constant(add.type, 0))
    value = emit.when(condition, lambda: emit.plus(value, _at(emit, row, (block, step))), value)
    _put(emit, value, row, (block, step))


@on_columns
def pull_weights(
    emit, outputs: Length, sources: Table, targets: Table, weights: Table, adds: Table, more: Position, at: Coupled
):
    """``weights (+)= sum over i and o of target[o] matrix[i, o] source[i]``.

    They are added to what is there where ``adds`` is not zero for a sample, or ``more`` is not.
    """
    width = emit.vectors * LINE

    def sample(e):
        source, target = _from(emit, sources, e, at.source), _from(emit, targets, e, at.target)
        add = emit.builder.or_(adds.item(e), more)

        def write(block):
            def term(i, *totals):
                value = _at(emit, source, (i, at.source_step), (block, width))
                return [emit.plus(t, emit.times(_entry(emit, at, e, i, o), value)) for o, t in enumerate(totals)]

            totals = emit.loop(0, at.terms, [emit.constant(0.0)] * outputs, term)
            products = [
                emit.times(_at(emit, target, (o, at.target_step), (block, width)), total)
                for o, total in enumerate(totals)
            ]
            _put_weights(emit, at, _from(emit, weights, e, at.weights), block, emit.plus(*products), add)

        _each(emit, 0, at.blocks, write)

    _each(emit, at.first, at.last, sample)


def _dot(emit, at, source, target, block):
    """``sum over o of target[o] source[o]`` for a block of channels."""
    width = emit.vectors * LINE

    def component(o, total):
        left = _at(emit, source, (o, at.source_step), (block, width))
        return (emit.plus(total, emit.times(left, _at(emit, target, (o, at.target_step), (block, width)))),)

    (total,) = emit.loop(0, at.terms, [emit.constant(0.0)], component)
    return total


@on_columns
def pull_weights_scaled(emit, sources: Table, targets: Table, weights: Table, adds: Table, at: Coupled):
    """``weights (+)= matrix[0, 0] * sum over o of target[o] source[o]``; added where ``adds`` is not zero."""

    def sample(e):
        source, target = _from(emit, sources, e, at.source), _from(emit, targets, e, at.target)

        def write(block):
            value = emit.times(_entry(emit, at, e, 0, 0), _dot(emit, at, source, target, block))
            _put_weights(emit, at, _from(emit, weights, e, at.weights), block, value, adds.item(e))

        _each(emit, 0, at.blocks, write)

    _each(emit, at.first, at.last, sample)


@on_vectors
def pull_matrix(emit, outputs: Length, sources: Table, targets: Table, weights: Table, at: Coupled):
    """``matrix[i, o] = weights * target[o] * source[i]``, summed over the vectors of channels, lane by lane."""

    def sample(e):
        source, target = _from(emit, sources, e, at.source), _from(emit, targets, e, at.target)
        row, number = _from(emit, weights, e, at.weights), emit.builder.sub(e, at.first)

        def component(i):
            def term(block, *totals):
                value = _at(emit, source, (i, at.source_step), (block, LINE))
                value = emit.times(value, _at(emit, row, (block, at.weights_step)))
                return [
                    emit.plus(t, emit.times(value, _at(emit, target, (o, at.target_step), (block, LINE))))
                    for o, t in enumerate(totals)
                ]

            for o, total in enumerate(emit.loop(0, at.blocks, [emit.constant(0.0)] * outputs, term)):
                _put(emit, total, at.matrix, (i, at.matrix_step), (o, LINE), (number, at.sample_step))

        _each(emit, 0, at.terms, component)

    _each(emit, at.first, at.last, sample)


@on_vectors
def pull_matrix_scaled(emit, sources: Table, targets: Table, weights: Table, at: Coupled):
    """The same for a multiple of one: its factor."""

    def sample(e):
        source, target = _from(emit, sources, e, at.source), _from(emit, targets, e, at.target)
        row = _from(emit, weights, e, at.weights)

        def term(block, total):
            value = emit.times(_at(emit, row, (block, at.weights_step)), _dot(emit, at, source, target, block))
            return (emit.plus(total, value),)

        (total,) = emit.loop(0, at.blocks, [emit.constant(0.0)], term)
        _put(emit, total, at.matrix, (emit.builder.sub(e, at.first), at.sample_step))

    _each(emit, at.first, at.last, sample)
