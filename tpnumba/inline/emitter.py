"""What a language must be able to say, so that products and harmonics can be written in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.inline.program import Place
from tpnumba.plans.contraction import PAIR

#: A number, an integer or a variable, whatever these are in the language.
Value = Any


class Emitter(ABC):
    """Writes statements, one after the other, in some language.

    Attributes:
        dtype: of all numbers.
        index: the values of the channel letters of the loops that are open.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.index: dict[str, Value] = {}

    @abstractmethod
    def number(self, value: float) -> Value:
        """A constant."""

    @abstractmethod
    def integer(self, value: int) -> Value:
        """A constant place."""

    @abstractmethod
    def add_integers(self, a: Value, b: Value) -> Value:
        """The sum of two places."""

    @abstractmethod
    def scale_integer(self, a: Value, by: int) -> Value:
        """A place times a constant."""

    @abstractmethod
    def pair(self, u: Value, v: Value, count: int) -> Value:
        """Where (u, v) stands among the pairs with u before v of ``count`` channels."""

    @abstractmethod
    def add(self, a: Value, b: Value) -> Value:
        """``a + b``."""

    @abstractmethod
    def subtract(self, a: Value, b: Value) -> Value:
        """``a - b``."""

    @abstractmethod
    def multiply(self, a: Value, b: Value) -> Value:
        """``a * b``."""

    @abstractmethod
    def multiply_add(self, a: Value, b: Value, c: Value) -> Value:
        """``a * b + c``, rounded once where that is as quick."""

    @abstractmethod
    def square_root(self, a: Value) -> Value:
        """The square root."""

    @abstractmethod
    def reciprocal(self, a: Value) -> Value:
        """``1 / a``."""

    @abstractmethod
    def magnitude(self, a: Value) -> Value:
        """The absolute value."""

    @abstractmethod
    def if_above(self, a: Value, b: Value, then: Value, other: Value) -> Value:
        """``then`` where ``a > b``, else ``other``, also where one of both is NaN."""

    @abstractmethod
    def load(self, argument: int, place: Value) -> Value:
        """A number of an argument."""

    @abstractmethod
    def store(self, argument: int, place: Value, value: Value) -> None:
        """Write a number of an argument, the last one."""

    @abstractmethod
    def loop(self, start: Value, stop: Value) -> AbstractContextManager[Value]:
        """What is written inside is done for each integer from ``start`` to before ``stop``; gives the integer."""

    @abstractmethod
    def variable(self, value: Value) -> Value:
        """A number that changes, with its first value."""

    @abstractmethod
    def get(self, variable: Value) -> Value:
        """The value of a variable."""

    @abstractmethod
    def set(self, variable: Value, value: Value) -> None:
        """Change a variable."""

    @abstractmethod
    def table(self, array: npt.NDArray[Any]) -> Value:
        """A constant array, of integers or of numbers; equal arrays stand once."""

    @abstractmethod
    def item(self, table: Value, place: Value) -> Value:
        """An entry of a table."""

    def at(self, base: Value, steps: tuple[tuple[str, int], ...]) -> Value:
        """``base`` and the steps of the channel letters."""
        for letter, step in steps:
            moved = self.index[letter]
            base = self.add_integers(base, self.scale_integer(moved, step) if step != 1 else moved)
        return base

    def load_place(self, place: Place) -> Value:
        """The number that stands at a place."""
        return self.load(place.argument, self.at(self.integer(place.base), place.steps))

    def opened(self, letter: str, extent: int) -> AbstractContextManager[None]:
        """A loop over a channel letter; of a list of pairs, over both of its letters."""
        return _Opened(self, letter, extent)


class _Opened(AbstractContextManager[None]):
    """The loops of a channel letter, whose values are known to the emitter inside of them."""

    def __init__(self, emit: Emitter, letter: str, extent: int) -> None:
        self._emit, self._letter, self._extent = emit, letter, extent
        self._managers: list[AbstractContextManager[Value]] = []

    def _enter(self, start: Value) -> Value:
        manager = self._emit.loop(start, self._emit.integer(self._extent))
        self._managers.append(manager)
        return manager.__enter__()

    def __enter__(self) -> None:
        emit = self._emit
        if self._letter != PAIR:
            emit.index[self._letter] = self._enter(emit.integer(0))
            return
        u = self._enter(emit.integer(0))
        v = self._enter(emit.add_integers(u, emit.integer(1)))
        emit.index.update({"u": u, "v": v, PAIR: emit.pair(u, v, self._extent)})

    def __exit__(self, *error: Any) -> None:
        for manager in reversed(self._managers):
            manager.__exit__(*error)
        for letter in ("u", "v", PAIR) if self._letter == PAIR else (self._letter,):
            del self._emit.index[letter]
