"""6j and 9j symbols by formulas that share nothing with the package."""

from __future__ import annotations

from fractions import Fraction
from math import factorial, sqrt


def is_triad(a, b, c):
    return abs(a - b) <= c <= a + b


def triangle(a, b, c):
    return Fraction(factorial(a + b - c) * factorial(a - b + c) * factorial(b + c - a), factorial(a + b + c + 1))


def exact_6j(a, b, c, d, e, f):
    """Racah's sum as it is printed, in rationals; sharing nothing with the package."""
    triads = [(a, b, c), (a, e, f), (d, b, f), (d, e, c)]
    if not all(is_triad(*triad) for triad in triads):
        return 0.0
    lows, highs = [sum(triad) for triad in triads], [a + b + d + e, b + c + e + f, a + c + d + f]
    total = Fraction(0)
    for t in range(max(lows), min(highs) + 1):
        below = 1
        for n in [*(t - low for low in lows), *(high - t for high in highs)]:
            below *= factorial(n)
        total += Fraction((-1) ** t * factorial(t + 1), below)
    square = total**2
    for triad in triads:
        square *= triangle(*triad)
    return sqrt(square) * (-1 if total < 0 else 1)


def summed_9j(a, b, c, d, e, f, g, h, i):
    """The sum over products of three 6j symbols."""
    total = 0.0
    for x in range(max(abs(a - i), abs(b - f), abs(d - h)), min(a + i, b + f, d + h) + 1):
        total += (2 * x + 1) * exact_6j(a, b, c, f, i, x) * exact_6j(d, e, f, b, x, h) * exact_6j(g, h, i, x, a, d)
    return total
