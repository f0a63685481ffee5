"""The terms of a small plan as code: what the tables would say, with places and coefficients in the instructions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Products of a coefficient and a term beyond which tables have them: the code would leave the caches for instructions,
#: and take seconds to compile.
MOST_UNROLLED = 2500

_HEAD = """#define UNROLLED
template <bool IS_PRODUCT, typename T, int R>
__device__ __forceinline__ void add_terms(int part, const T* x, const T* y, T (&sum)[R]) {
    T v;
    if (IS_PRODUCT) switch (part) {
"""
_BETWEEN = """    } else switch (part) {
"""
_TAIL = """    }
}
"""


class Code:
    """Collects cases: the terms of one part of a row each."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._numbers: dict[tuple[bool, str], int] = {}

    def add(self, pairs: npt.NDArray[np.int64], values: npt.NDArray[np.float64], *, product: bool) -> int:
        """The number of the case with these terms: places in x and y, and a column of coefficients for each result."""
        lines = []
        for (x, y), row in zip(pairs.tolist(), values.astype(self._dtype), strict=True):
            value = f"x[{x}] * y[{y}]" if product else f"x[{x}]"
            sums = (f"sum[{r}] += T({float(c)!r}) * v;" for r, c in enumerate(row) if c != 0)
            lines.append(f"v = {value}; {' '.join(sums)}")
        return self._numbers.setdefault((product, "\n".join(lines)), len(self._numbers))

    def source(self) -> str:
        """What is put before the kernel's source."""
        cases = {True: "", False: ""}
        for (product, lines), number in self._numbers.items():
            cases[product] += f"    case {number}:\n{lines}\n    break;\n"
        return _HEAD + cases[True] + _BETWEEN + cases[False] + _TAIL
