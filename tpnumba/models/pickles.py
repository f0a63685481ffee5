"""Pickles read as data: a machine that knows containers, numbers and strings, and calls nothing that it was not given.

Python's own unpickler calls whatever a pickle names. This one holds a table of what may be named; a pickle that names
anything else, or uses an instruction that makes objects, is refused before anything has been called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

#: What a constructor is called with: the arguments in the pickle, checked by itself.
Constructor = Callable[..., Any]


class Building:
    """What a constructor returns if the pickle gives its content afterwards, by a state."""

    def build(self, state: Any) -> None:
        """Take the state.

        Raises:
            ValueError: it is not of the form expected.
        """
        raise NotImplementedError

    def value(self) -> Any:
        """What stands in the result in place of this object."""
        raise NotImplementedError


class _Name:
    """A name in a pickle that may be called, such as ``collections.OrderedDict``."""

    def __init__(self, name: str, constructor: Constructor) -> None:
        self.name = name
        self.constructor = constructor


_MARK = object()


def read_pickle(
    data: bytes,
    *,
    constructors: Mapping[str, Constructor],
    constants: Mapping[str, Any],
    persistent: Callable[[Any], Any],
) -> Any:
    """What a pickle of protocol 2 holds: dicts, lists, tuples, strings, numbers, and what ``constructors`` make.

    Args:
        data: the pickle.
        constructors: what may be called, by full name, such as ``"collections.OrderedDict"``.
        constants: what may be named but not called, and what stands for it.
        persistent: makes an object of a persistent identifier.

    Attributes that a pickle gives to a dict (as torch does to an ``OrderedDict``) are left out.

    Raises:
        ValueError: a name that is in neither table, an instruction that plain data do not need, a container that holds
            itself, or a pickle that is malformed or cut off. Nothing has been executed.

    Example:
        >>> import pickle
        >>> tables = {"constructors": {}, "constants": {}, "persistent": lambda key: None}
        >>> read_pickle(pickle.dumps({"a": [1, 2.5, None]}, protocol=2), **tables)
        {'a': [1, 2.5, None]}
        >>> read_pickle(pickle.dumps(print, protocol=2), **tables)
        Traceback (most recent call last):
            ...
        ValueError: the pickle names __builtin__.print, which is not among what may be read; nothing was executed
    """
    machine = _Machine(constructors, constants, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return _resolve(machine.stack.pop(), {}, set())
            machine.step(opcode.name, argument)
    except _RefusalError as refusal:
        raise ValueError(str(refusal)) from None
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"the pickle is malformed: {error or type(error).__name__}") from error
    raise ValueError("the pickle is malformed: it has no end")


class _RefusalError(Exception):
    """A pickle that is whole but may not be read."""


class _Machine:
    def __init__(
        self, constructors: Mapping[str, Constructor], constants: Mapping[str, Any], persistent: Callable[[Any], Any]
    ) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._constructors = constructors
        self._constants = constants
        self._persistent = persistent

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _PUSHED:
            stack.append(argument)
        elif name in _FIXED:
            stack.append(_FIXED[name]())
        elif name in _SHORT_TUPLES:
            count = _SHORT_TUPLES[name]
            items = [stack.pop() for _ in range(count)]
            stack.append(tuple(reversed(items)))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name != "PROTO":
            raise _RefusalError(
                f"the pickle has the instruction {name}, which plain data do not need; nothing was executed"
            )

    def name(self, argument: str) -> None:
        full = argument.replace(" ", ".")
        if full in self._constructors:
            self.stack.append(_Name(full, self._constructors[full]))
        elif full in self._constants:
            self.stack.append(self._constants[full])
        else:
            raise _RefusalError(f"the pickle names {full}, which is not among what may be read; nothing was executed")

    def call(self, _: Any) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        if not isinstance(callee, _Name):
            raise _RefusalError(f"the pickle calls a {type(callee).__name__}; nothing was executed")
        if not isinstance(arguments, tuple):
            raise TypeError(f"arguments of {callee.name} that are not a tuple")
        try:
            self.stack.append(callee.constructor(*arguments))
        except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise _RefusalError(f"{callee.name} in the pickle has arguments that do not make sense: {error}") from error

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Building):
            target.build(state)
        elif not isinstance(target, dict):
            raise _RefusalError(f"the pickle gives attributes to a {type(target).__name__}; nothing was executed")

    def identify(self, _: Any) -> None:
        self.stack.append(self._persistent(_resolve(self.stack.pop(), {}, set())))

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        _of_type(self.stack[-1], list).append(item)

    def append_all(self, _: Any) -> None:
        items = self._since_mark()
        _of_type(self.stack[-1], list).extend(items)

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _of_type(self.stack[-1], dict)[key] = value

    def set_items(self, _: Any) -> None:
        items = self._since_mark()
        _of_type(self.stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))

    def make_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _since_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]


_PUSHED = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "BINSTRING", "SHORT_BINSTRING"})
_FIXED: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.identify,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "TUPLE": _Machine.make_tuple,
}


def _of_type(value: Any, expected: type) -> Any:
    if type(value) is not expected:
        raise TypeError(f"items for a {type(value).__name__} where a {expected.__name__} is expected")
    return value


def _resolve(value: Any, done: dict[int, Any], open_: set[int]) -> Any:
    """The same data with what was built in the place of what built it; shared parts are resolved once."""
    if isinstance(value, _Name):
        return value.name
    if isinstance(value, Building):
        return value.value()
    if value is _MARK:
        raise ValueError("a mark where data are expected")
    if type(value) not in (dict, list, tuple):
        return value
    if id(value) in done:
        return done[id(value)]
    if id(value) in open_:
        raise _RefusalError("the pickle has a container that holds itself; nothing was executed")
    open_.add(id(value))
    result: Any
    if type(value) is dict:
        result = {_resolve(k, done, open_): _resolve(v, done, open_) for k, v in value.items()}
    else:
        result = type(value)([_resolve(item, done, open_) for item in value])
    open_.discard(id(value))
    done[id(value)] = result
    return result
