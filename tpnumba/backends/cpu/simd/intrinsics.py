"""From functions that write vector code to intrinsics of Numba.

Such a function takes a :class:`ColumnEmitter` and then its arguments. What kind each of them is, its annotation says::

    @on_columns
    def multiply(emit, to: Position, left: Position, right: Position):
        emit.store(emit.times(emit.load(left), emit.load(right)), to)

Kernels call it with the tile before these: ``multiply(width, tile, to, left, right)``. How many 64-byte vectors a
column has is said by a type: ``width`` is a tuple of that length. Functions on single vectors take no ``width``.
Positions that belong together may be one argument, a named tuple.
"""

from __future__ import annotations

import inspect

from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.simd.codegen import ColumnEmitter, Table

#: A position in the tile, an address, a stride, a count.
Position = types.intp
Flag = types.boolean


class Number:
    """A number of the tile's dtype."""


class Length:
    """A number that is known when compiling: kernels give a tuple of that length."""


def on_columns(write):
    """An intrinsic on whole columns, called with ``width`` and ``tile`` and the arguments of ``write``."""
    return _intrinsic(write, ("width", "tile"))


def on_vectors(write):
    """An intrinsic on vectors of 64 bytes, called with ``tile`` and the arguments of ``write``."""
    return _intrinsic(write, ("tile",))


def _intrinsic(write, before):
    described = inspect.signature(write, eval_str=True)
    names = list(described.parameters)[1:]
    kinds = [described.parameters[name].annotation for name in names]
    result, skip = described.return_annotation, len(before)

    def typed(typing_context, *given):
        tile = given[skip - 1]
        of_arguments = [_type_of(kind, tile, arrived) for kind, arrived in zip(kinds, given[skip:], strict=True)]
        of_result = types.void if result is described.empty else _type_of(result, tile, None)
        return of_result(*given[:skip], *of_arguments), generate

    def generate(context, builder, signature, arguments):
        vectors = len(signature.args[0]) if "width" in before else 1
        emit = ColumnEmitter(context, builder, signature.args[skip - 1], arguments[skip - 1], vectors)
        typed_arguments = zip(kinds, signature.args[skip:], arguments[skip:], strict=True)
        made = write(emit, *(_value_of(kind, context, builder, *argument) for kind, *argument in typed_arguments))
        return context.get_dummy_value() if made is None else made

    # Numba reads the names of the arguments.
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    typed.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind) for name in ("typing_context", *before, *names)]
    )
    typed.__name__, typed.__module__, typed.__doc__ = write.__name__, write.__module__, write.__doc__
    return intrinsic(typed)


def _is_group(kind):
    """Whether an argument is a named tuple of positions."""
    return inspect.isclass(kind) and issubclass(kind, tuple)


def _type_of(kind, tile, arrived):
    """The Numba type of an argument; tables and tuples come as they are."""
    if kind is Number:
        return tile.dtype
    if _is_group(kind):
        return types.NamedUniTuple(types.intp, len(kind._fields), kind)
    return arrived if kind in (Table, Length) else kind


def _value_of(kind, context, builder, arrived, value):
    """What ``write`` is given for an argument."""
    if kind is Table:
        return Table(context, builder, arrived, value)
    if _is_group(kind):
        return kind(*(builder.extract_value(value, i) for i in range(len(kind._fields))))
    return len(arrived) if kind is Length else value
