"""What intrinsics are written with: the one writer of vector code, for columns of a tile and vectors of memory."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.np import arrayobj

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.runtime.compiler import FAST_MATH

FLAGS = tuple(sorted(FAST_MATH))


class Table:
    """An array that an intrinsic reads."""

    def __init__(self, context, builder, array_type, array):
        self._builder = builder
        self._data = arrayobj.make_array(array_type)(context, builder, array).data

    def pointer(self, index):
        """Where a number stands."""
        return self._builder.gep(self._data, [index], inbounds=True)

    def item(self, index):
        """A number."""
        return self._builder.load(self.pointer(index))


class ColumnEmitter:
    """Writes the code of one intrinsic: loading and storing columns of its tile, arithmetic on them, loops.

    Args:
        context, builder: of Numba and of LLVM, for the intrinsic.
        tile_type, tile: the tile.
        vectors: the 64-byte vectors of a column; 1 to work on one vector of it.
    """

    def __init__(self, context, builder, tile_type, tile, vectors):
        self.builder, self.vectors = builder, vectors
        self.item_bytes = tile_type.dtype.bitwidth // 8
        self.count = vectors * LINE // self.item_bytes
        self._scalar = ir.FloatType() if tile_type.dtype == types.float32 else ir.DoubleType()
        self._tile = Table(context, builder, tile_type, tile)

    # Where numbers stand

    def moved(self, place, times, step=None):
        """The position ``times`` steps behind ``place``; a step is a column, if no other is given."""
        if isinstance(times, int):
            if times == 0:
                return place
            times = ir.Constant(place.type, times)
        step = ir.Constant(place.type, self.count) if step is None else step
        return self.builder.add(place, self.builder.mul(times, step))

    def pointer(self, place):
        """A position in the tile as a pointer."""
        return self._tile.pointer(place)

    def memory(self, address):
        """An address as a pointer to numbers of the tile's dtype."""
        return self.builder.inttoptr(address, self._scalar.as_pointer())

    # Vectors

    def load(self, place, column=0):
        """The column at a position, or ``column`` columns further on."""
        return self.load_from(self.pointer(self.moved(place, column)))

    def store(self, value, place, column=0):
        """Put a column there."""
        self.store_to(value, self.pointer(self.moved(place, column)))

    def load_from(self, pointer, count=None, align=LINE):
        """``count`` numbers as one vector; as many as a column has, if nothing else is said."""
        vector = ir.VectorType(self._scalar, self.count if count is None else count)
        loaded = self.builder.load(self.builder.bitcast(pointer, vector.as_pointer()))
        loaded.align = align
        return loaded

    def store_to(self, value, pointer, align=LINE):
        """Put a vector somewhere."""
        stored = self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer()))
        stored.align = align
        return stored

    def store_all(self, values, pointers):
        """Put columns somewhere."""
        for value, pointer in zip(values, pointers, strict=True):
            self.store_to(value, pointer)

    def store_or_add(self, values, pointers, add):
        """Put columns somewhere, or add them to what is there if the condition ``add`` holds."""
        with self.builder.if_else(add) as (then, otherwise):
            with then:
                for value, pointer in zip(values, pointers, strict=True):
                    self.store_to(self.plus(value, self.load_from(pointer)), pointer)
            with otherwise:
                self.store_all(values, pointers)

    def constant(self, value):
        """One number, known when compiling, for every sample."""
        return ir.Constant(ir.VectorType(self._scalar, self.count), [value] * self.count)

    def splat(self, number):
        """One number for every sample."""
        undefined = ir.Constant(ir.VectorType(number.type, self.count), ir.Undefined)
        one = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        return self.shuffled(one, undefined, [0] * self.count)

    def number(self, table, index):
        """A number of a table for every sample."""
        return self.splat(table.item(index))

    def shuffled(self, one, other, mask):
        """The numbers of two vectors, counted through, that ``mask`` names."""
        return self.builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), len(mask)), mask))

    def first(self, value):
        """The first number of a vector."""
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    # Arithmetic, sample by sample

    def times(self, *factors):
        """The product."""
        product = factors[0]
        for factor in factors[1:]:
            product = self.builder.fmul(product, factor, flags=FLAGS)
        return product

    def plus(self, *terms):
        """The sum, in this order."""
        total = terms[0]
        for term in terms[1:]:
            total = self.builder.fadd(total, term, flags=FLAGS)
        return total

    def minus(self, one, other):
        """The difference."""
        return self.builder.fsub(one, other, flags=FLAGS)

    def multiply_add(self, one, other, total):
        """``one * other + total``, rounded once, whatever stands around it."""
        signature = ir.FunctionType(one.type, [one.type] * 3)
        return self.builder.call(self._function("fma", signature), [one, other, total])

    def sum_of(self, one, other):
        """The sum of two numbers, each rounded already: a product among them is not rounded with it."""
        return self._constrained("fadd", one, other)

    def over(self, one, other):
        """The quotient itself: a product with the reciprocal, which may be infinite, will not do."""
        return self._constrained("fdiv", one, other)

    def _constrained(self, name, one, other):
        """A plain operation would be given the flags of :mod:`tpnumba.backends.cpu.runtime.compiler` by Numba."""
        kind, text, module = one.type, ir.MetaDataType(), self.builder.module
        signature = ir.FunctionType(kind, [kind, kind, text, text])
        how = [ir.MetaDataString(module, word) for word in ("round.tonearest", "fpexcept.ignore")]
        return self.builder.call(self._function(f"experimental.constrained.{name}", signature), [one, other, *how])

    def call(self, name, value):
        """A function of the compiler's on every number."""
        return self.builder.call(self._function(name, ir.FunctionType(value.type, [value.type])), [value])

    def _function(self, name, signature):
        module = self.builder.module
        full = f"llvm.{name}.v{self.count}f{8 * self.item_bytes}"
        return module.globals.get(full) or ir.Function(module, signature, full)

    # Control

    def loop(self, begin, end, carried, body):
        """``carried = body(n, *carried)`` for n from ``begin`` to ``end``; what is carried at last."""
        builder = self.builder
        entry = builder.block
        head, inside, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        n = builder.phi(end.type)
        phis = [builder.phi(value.type) for value in carried]
        n.add_incoming(ir.Constant(end.type, begin) if isinstance(begin, int) else begin, entry)
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, entry)
        builder.cbranch(builder.icmp_signed("<", n, end), inside, done)
        builder.position_at_end(inside)
        after = body(n, *phis)
        n.add_incoming(builder.add(n, ir.Constant(n.type, 1)), builder.block)
        for phi, value in zip(phis, after, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return phis

    def when(self, condition, make, otherwise):
        """``make()`` where the condition holds; a branch, so that no memory is touched where it does not."""
        builder = self.builder
        before = builder.block
        with builder.if_then(condition):
            made = make()
            after = builder.block
        chosen = builder.phi(otherwise.type)
        chosen.add_incoming(otherwise, before)
        chosen.add_incoming(made, after)
        return chosen

    def times_column(self, value, place, condition):
        """``value``, times the column at a position where ``condition >= 0``; elsewhere nothing is read."""
        given = self.builder.icmp_signed(">=", condition, ir.Constant(condition.type, 0))
        return self.when(given, lambda: self.times(value, self.load(place)), value)
