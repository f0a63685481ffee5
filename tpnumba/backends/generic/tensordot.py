"""Multiply two arrays whose axes bear letters: an outer product or one matrix product, no einsum needed."""

from __future__ import annotations

from math import prod
from typing import Any

Array = Any
Letters = tuple[str, ...]


def arrange(xp: Any, array: Array, letters: Letters, wanted: Letters) -> Array:
    """Permute the axes of ``array`` from the order ``letters`` to the order ``wanted``."""
    if letters == wanted:
        return array
    return xp.permute_dims(array, tuple(letters.index(letter) for letter in wanted))


def multiply(xp: Any, left: Array, ll: Letters, right: Array, rl: Letters, out: Letters) -> Array:
    """``sum over letters not in out of left * right``, with axes in the order ``out``."""
    left, ll = _sum_lonely(xp, left, ll, {*rl, *out})
    right, rl = _sum_lonely(xp, right, rl, {*ll, *out})
    summed = tuple(letter for letter in ll if letter in rl and letter not in out)
    if not summed:
        return _outer(xp, left, ll, right, rl, out)
    both = tuple(letter for letter in ll if letter in rl and letter in out)
    only_left = tuple(letter for letter in ll if letter not in rl)
    only_right = tuple(letter for letter in rl if letter not in ll)
    extents = dict(zip((*ll, *rl), (*left.shape, *right.shape), strict=True))

    def size(letters: Letters) -> int:
        return prod(extents[letter] for letter in letters)

    head = [size(both)] if both else []
    a = xp.reshape(arrange(xp, left, ll, both + only_left + summed), (*head, size(only_left), size(summed)))
    b = xp.reshape(arrange(xp, right, rl, both + summed + only_right), (*head, size(summed), size(only_right)))
    made = both + only_left + only_right
    product = xp.reshape(xp.matmul(a, b), tuple(extents[letter] for letter in made))
    return arrange(xp, product, made, out)


def _sum_lonely(xp: Any, array: Array, letters: Letters, needed: set[str]) -> tuple[Array, Letters]:
    """Sum the axes whose letter nobody else has."""
    lonely = tuple(i for i, letter in enumerate(letters) if letter not in needed)
    if not lonely:
        return array, letters
    return xp.sum(array, axis=lonely), tuple(letter for letter in letters if letter in needed)


def _outer(xp: Any, left: Array, ll: Letters, right: Array, rl: Letters, out: Letters) -> Array:
    def spread(array: Array, letters: Letters) -> Array:
        present = tuple(letter for letter in out if letter in letters)
        array = arrange(xp, array, letters, present)
        extents = dict(zip(present, array.shape, strict=True))
        return xp.reshape(array, tuple(extents.get(letter, 1) for letter in out))

    return spread(left, ll) * spread(right, rl)
