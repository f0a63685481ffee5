"""A program written down with an emitter: its loops, and inside of them code or loops over tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce

import numpy as np

from tpnumba.inline.emitter import Emitter, Value
from tpnumba.inline.program import Loops, Nest, Part, Place, Program, Sum, Table, tables_of

#: Numbers of the result that are set to zero one by one; more are in a loop.
_FEW = 8


def emit_program(emit: Emitter, program: Program) -> None:
    """Write the whole program."""
    result = len(program.sizes) - 1
    for start, stop in program.zeroed:
        if stop - start <= _FEW:
            for place in range(start, stop):
                emit.store(result, emit.integer(place), emit.number(0.0))
        else:
            with emit.loop(emit.integer(start), emit.integer(stop)) as at:
                emit.store(result, at, emit.number(0.0))
    for nest in program.nests:
        with _opened(emit, nest.loops):
            if nest.is_straight:
                _Straight(emit).nest(nest)
            else:
                for table in tables_of(nest):
                    _emit_table(emit, table)


@contextmanager
def _opened(emit: Emitter, loops: Loops) -> Iterator[None]:
    with ExitStack() as stack:
        for letter, extent in loops:
            stack.enter_context(emit.opened(letter, extent))
        yield


class _Straight:
    """A nest term by term; numbers that are read, and products of them, are kept until its end."""

    def __init__(self, emit: Emitter) -> None:
        self.emit = emit
        self._known: dict[tuple[Place, ...], Value] = {}

    def nest(self, nest: Nest) -> None:
        """Sums with the same weights follow each other in the same inner loop."""
        sums = list(nest.sums)
        while sums:
            key = self._key(sums[0])
            together = [one for one in sums if self._key(one) == key]
            sums = [one for one in sums if self._key(one) != key]
            if together[0].spread or any(part.weights for part in together[0].parts):
                self._weighted(together)
            else:
                for one in together:
                    self._store(one, self._terms(one.parts[0]))

    @staticmethod
    def _key(one: Sum) -> object:
        return one.spread, tuple((part.weights, part.summed) for part in one.parts)

    def _weighted(self, sums: list[Sum]) -> None:
        """Sums of terms, each times its weights; inside of a loop, if weights or result have channels of their own."""
        emit = self.emit
        values = [[self._terms(part) for part in one.parts] for one in sums]
        spread = sums[0].spread
        with _opened(emit, spread):
            scales = [self._scale(part) for part in sums[0].parts]
            for one, own in zip(sums, values, strict=True):
                total = None
                for value, scale in zip(own, scales, strict=True):
                    total = self._added(total, value, scale)
                self._store(one, total)

    def _added(self, total: Value | None, value: Value, scale: Value | None) -> Value:
        """A sum that has nothing in it yet, perhaps, and a value times its weights, if it has any."""
        if total is None:
            return value if scale is None else self.emit.multiply(value, scale)
        return self.emit.add(value, total) if scale is None else self.emit.multiply_add(value, scale, total)

    def _scale(self, part: Part) -> Value | None:
        return _product_of_weights(self.emit, part, [place.base for place in part.weights])

    def _product(self, factors: tuple[Place, ...]) -> Value:
        if factors not in self._known:
            if len(factors) == 1:
                self._known[factors] = self.emit.load_place(factors[0])
            else:
                first, last = self._product(factors[:-1]), self._product(factors[-1:])
                self._known[factors] = self.emit.multiply(first, last)
        return self._known[factors]

    def _terms(self, part: Part) -> Value:
        emit, total = self.emit, None
        for term in part.terms:
            product, value = self._product(term.factors), emit.number(term.value)
            total = emit.multiply(value, product) if total is None else emit.multiply_add(value, product, total)
        return total

    def _store(self, one: Sum, value: Value) -> None:
        emit = self.emit
        place = emit.at(emit.integer(one.to.base), one.to.steps)
        if one.adds:
            value = emit.add(emit.load(one.to.argument, place), value)
        emit.store(one.to.argument, place, value)


def _product_of_weights(emit: Emitter, part: Part, bases: list[Value]) -> Value | None:
    """The sum, over the letters that are summed, of the product of the weights at ``bases``; None if there are none."""
    if not part.weights:
        return None

    def product() -> Value:
        places = (
            emit.at(emit.integer(base) if isinstance(base, int) else base, place.steps)
            for base, place in zip(bases, part.weights, strict=True)
        )
        values = [emit.load(own.argument, place) for own, place in zip(part.weights, places, strict=True)]
        return reduce(emit.multiply, values)

    if not part.summed:
        return product()
    total = emit.variable(emit.number(0.0))
    with _opened(emit, part.summed):
        emit.set(total, emit.add(emit.get(total), product()))
    return emit.get(total)


def _emit_table(emit: Emitter, table: Table) -> None:
    """A loop over sums, and in it one over the terms of one."""
    one, part = table.first, table.part
    whole = [np.ascontiguousarray(array, dtype=np.int32) for array in (table.results, table.starts)]
    results, starts = (emit.table(array) for array in whole)
    weights = [emit.table(column.astype(np.int32)) for column in table.weights.T]
    factors = [emit.table(column.astype(np.int32)) for column in table.factors.T]
    values = emit.table(table.values.astype(emit.dtype))
    with emit.loop(emit.integer(0), emit.integer(len(table.results))) as r:
        total = emit.variable(emit.number(0.0))
        stop = emit.item(starts, emit.add_integers(r, emit.integer(1)))
        with emit.loop(emit.item(starts, r), stop) as n:
            product = emit.item(values, n)
            for column, place in zip(factors, part.terms[0].factors, strict=True):
                number = emit.load(place.argument, emit.at(emit.item(column, n), place.steps))
                last = place is part.terms[0].factors[-1]
                if last:
                    emit.set(total, emit.multiply_add(product, number, emit.get(total)))
                else:
                    product = emit.multiply(product, number)
        value = emit.get(total)
        to = emit.item(results, r)
        with _opened(emit, one.spread):
            scale = _product_of_weights(emit, part, [emit.item(column, r) for column in weights])
            scaled = value if scale is None else emit.multiply(value, scale)
            place = emit.at(to, one.to.steps)
            if one.adds:
                scaled = emit.add(emit.load(one.to.argument, place), scaled)
            emit.store(one.to.argument, place, scaled)
