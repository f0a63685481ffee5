"""How results that are timed are checked: some samples, against float64, to rounding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Samples that are compared with the float64 reference, spread over the batch.
COMPARED = 64
#: Sums of up to some thousand terms, whose rounding grows as the root of their number; a wrong order, factor or sign
#: is off by the size of the numbers themselves.
ROUNDINGS = 200


def compared_samples(batch: int) -> npt.NDArray[np.intp]:
    """The numbers of the samples that are compared.

    Example:
        >>> compared_samples(3), len(compared_samples(10_000))
        (array([0, 1, 2]), 64)
    """
    return np.unique(np.linspace(0, batch - 1, COMPARED).astype(np.intp))
