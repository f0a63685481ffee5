"""What readers of other packages' networks share: the products of an interaction, and the signs of its coefficients.

Packages save the Clebsch-Gordan coefficients that a network was trained with. Some of those of e3nn up to 0.4.4 have
another sign than those of today, which goes into the weights of their products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import Irrep, Irreps
from tpnumba.tables.clebsch_gordan import relative_sign

Array = npt.NDArray[Any]
#: Of the features, of the harmonics and of the messages: the block.
Instructions = tuple[tuple[int, int, int], ...]


def products(features: Irreps, harmonics: Irreps, wanted: Callable[[Irrep], bool]) -> tuple[Instructions, Irreps]:
    """The products of features and harmonics, block by block, and the irreps of the messages.

    Args:
        features, harmonics: irreps.
        wanted: whether messages of an irrep are made.

    Messages are sorted; instructions are in the order of features and harmonics, as NequIP's weights are.

    Example:
        >>> products(Irreps("2x0e + 2x1o"), Irreps("0e + 1o"), lambda ir: ir.l == 0)
        (((0, 0, 0), (1, 1, 1)), 2x0e+2x0e)
    """
    found = [
        (i, j, mul, ir)
        for i, (mul, ir_in) in enumerate(features)
        for j, (_, ir_edge) in enumerate(harmonics)
        for ir in ir_in * ir_edge
        if wanted(ir)
    ]
    irreps, place, _ = Irreps([(mul, ir) for _, _, mul, ir in found]).sort()
    return tuple((i, j, place[k]) for k, (i, j, _, _) in enumerate(found)), irreps


def signs_of_products(
    coefficients: Mapping[str, Array],
    prefix: str,
    features: Irreps,
    harmonics: Irreps,
    messages: Irreps,
    instructions: Sequence[Sequence[int]],
) -> Array:
    """Of the coefficients that products were trained with, relative to those of today, one for each of their weights.

    Args:
        coefficients: by e3nn's names, which end in ``_w3j_1_2_3`` for the degrees 1, 2 and 3.
        prefix: of these names.
        features, harmonics, messages, instructions: of the products.

    Raises:
        ValueError: coefficients are missing, or are those of nothing known; the message has their name.
    """

    def sign(l1: int, l2: int, l3: int) -> float:
        name = f"{prefix}_w3j_{l1}_{l2}_{l3}"
        stored = coefficients.get(name)
        if stored is None:
            if min(l1, l2, l3) > 0:
                raise ValueError(f"the checkpoint lacks the coefficients {name}")
            return 1.0
        return relative_sign(stored, l1, l2, l3, name=name)

    return np.concatenate(
        [
            np.full(features[i].mul, sign(features[i].ir.l, harmonics[j].ir.l, messages[k].ir.l))
            for i, j, k in instructions
        ]
    )
