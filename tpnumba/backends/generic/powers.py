"""Powers of complex numbers in real arithmetic: the cosines and sines of multiples of an angle, without the angle."""

from __future__ import annotations

from typing import Any

Array = Any


def complex_powers(xp: Any, real: Array, imaginary: Array, highest: int) -> tuple[Array, Array]:
    """``(real + i imaginary)^m`` for ``m = 0..highest``, as real and imaginary parts.

    By doubling: with the powers up to k known, those up to 2 k are one product each.

    Args:
        xp: the namespace.
        real, imaginary: shape ``(..., 1)``.
        highest: the largest exponent.

    Returns:
        Two arrays of shape ``(..., highest + 1)``.
    """
    reals = xp.concat([xp.ones_like(real), real], axis=-1)
    imaginaries = xp.concat([xp.zeros_like(imaginary), imaginary], axis=-1)
    known = 1
    while known < highest:
        more = min(known, highest - known)
        a, b = reals[..., known:], imaginaries[..., known:]
        c, d = reals[..., 1 : more + 1], imaginaries[..., 1 : more + 1]
        reals, imaginaries = (
            xp.concat([reals, a * c - b * d], axis=-1),
            xp.concat([imaginaries, a * d + b * c], axis=-1),
        )
        known += more
    return reals[..., : highest + 1], imaginaries[..., : highest + 1]
