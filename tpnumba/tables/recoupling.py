"""Recoupling coefficients of three and four irreps, the 6j and 9j symbols, in exact integers.

In the form of L. Wei, *Comput. Phys. Commun.* 120, 222 (1999): a square root of factorials in front of a sum of
products of binomials, which is an integer. So each value is rounded once, and an accidental zero is exactly zero.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, factorial, prod, sqrt


def _is_triad(a: int, b: int, c: int) -> bool:
    return abs(a - b) <= c <= a + b


@lru_cache(maxsize=4096)
def _triad_square(a: int, b: int, c: int) -> tuple[int, int]:
    """``Delta(a, b, c)^2 = (a+b-c)! (a-b+c)! (-a+b+c)! / (a+b+c+1)!`` as a fraction."""
    return factorial(a + b - c) * factorial(a - b + c) * factorial(-a + b + c), factorial(a + b + c + 1)


@lru_cache(maxsize=4096)
def _racah_sum(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """``6j{a b c; d e f} Delta(a, b, c) / (Delta(c, d, e) Delta(a, e, f) Delta(b, d, f))``, an integer."""
    triads = (a + b + c, c + d + e, b + d + f, a + e + f)
    squares = (a + b + d + e, a + c + d + f, b + c + e + f)
    first = max(triads)
    term = comb(first + 1, triads[0] + 1)
    term *= comb(a + b - c, first - triads[1]) * comb(a - b + c, first - triads[2])
    term *= comb(-a + b + c, first - triads[3]) * (-1 if first % 2 else 1)
    total = 0
    for n in range(first, min(squares) + 1):
        total += term
        # to the next term, which is again an integer
        term *= -(n + 2) * prod(square - n for square in squares)
        term //= prod(n + 1 - triad for triad in triads)
    return total


def _rounded(integer: int, square: tuple[int, int]) -> float:
    """``integer * sqrt(square)``; true division of Python integers rounds once, however large they are."""
    root = sqrt(integer * integer * square[0] / square[1])
    return -root if integer < 0 else root


@lru_cache(maxsize=65536)
def wigner_6j(l1: int, l2: int, l3: int, l4: int, l5: int, l6: int) -> float:
    """The 6j symbol ``{l1 l2 l3; l4 l5 l6}`` of integer degrees; zero unless its four triads are triangles.

    Args:
        l1, l2, l3: the first row, a triad.
        l4, l5, l6: the second row; ``(l1, l5, l6)``, ``(l4, l2, l6)``, ``(l4, l5, l3)`` are triads.

    Returns:
        The value to one rounding; exactly 0.0 at an accidental zero.

    Example:
        >>> round(wigner_6j(1, 1, 1, 1, 1, 1), 12), wigner_6j(3, 5, 6, 6, 6, 6)
        (0.166666666667, 0.0)
    """
    triads = ((l3, l4, l5), (l1, l5, l6), (l2, l4, l6))
    if not (_is_triad(l1, l2, l3) and all(_is_triad(*triad) for triad in triads)):
        return 0.0
    deltas = [_triad_square(*triad) for triad in triads]
    over = _triad_square(l1, l2, l3)
    square = prod(delta[0] for delta in deltas) * over[1], prod(delta[1] for delta in deltas) * over[0]
    return _rounded(_racah_sum(l1, l2, l3, l4, l5, l6), square)


@lru_cache(maxsize=65536)
def wigner_9j(l1: int, l2: int, l3: int, l4: int, l5: int, l6: int, l7: int, l8: int, l9: int) -> float:
    """The 9j symbol ``{l1 l2 l3; l4 l5 l6; l7 l8 l9}`` of integer degrees; zero unless rows and columns are triangles.

    ``sum over x of (2 x + 1) 6j{l1 l2 l3; l6 l9 x} 6j{l4 l5 l6; l2 x l8} 6j{l7 l8 l9; x l1 l4}``: the triangle factors
    with x cancel between the three, which leaves a sum of integers.

    Returns:
        The value to one rounding; exactly 0.0 at a zero, whether by symmetry or by accident.

    Example:
        >>> round(wigner_9j(1, 1, 0, 1, 1, 0, 0, 0, 0), 12), wigner_9j(1, 1, 1, 1, 1, 1, 1, 1, 1)
        (0.333333333333, 0.0)
    """
    triads = ((l1, l2, l3), (l4, l5, l6), (l7, l8, l9), (l1, l4, l7), (l2, l5, l8), (l3, l6, l9))
    if not all(_is_triad(*triad) for triad in triads):
        return 0.0
    total = 0
    for x in range(max(abs(l1 - l9), abs(l2 - l6), abs(l4 - l8)), min(l1 + l9, l2 + l6, l4 + l8) + 1):
        # A 6j is its sum times Delta(x, ...) of one triad over Delta(x, ...) of another: over the three these cancel.
        total += (
            (2 * x + 1)
            * _racah_sum(l1, l9, x, l6, l2, l3)
            * _racah_sum(l6, l2, x, l8, l4, l5)
            * _racah_sum(l8, l4, x, l1, l9, l7)
        )
    deltas = [_triad_square(*triad) for triad in triads]
    return _rounded(total, (prod(delta[0] for delta in deltas), prod(delta[1] for delta in deltas)))
