"""Features as blocks: an array of shape ``(..., components, copies)`` for each block, in either layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tpnumba.backends.namespaces import Context
from tpnumba.irreps import Irreps

Array = Any


def split(context: Context, x: Array, irreps: Irreps, layout: str) -> list[Array]:
    """The blocks of features of shape ``(..., irreps.dim)``, each of shape ``(..., 2 l + 1, mul)``."""
    xp, leading = context.xp, tuple(x.shape[:-1])
    blocks = []
    for (mul, ir), place in zip(irreps, irreps.slices(), strict=True):
        part = x[..., place]
        if ir.dim == 1 or mul == 1 or layout == "ir_mul":  # where both layouts have the same order
            blocks.append(xp.reshape(part, (*leading, ir.dim, mul)))
        else:
            blocks.append(xp.matrix_transpose(xp.reshape(part, (*leading, mul, ir.dim))))
    return blocks


def join(context: Context, blocks: Sequence[Array], leading: tuple[int, ...], layout: str) -> Array:
    """The features of blocks of shape ``(..., 2 l + 1, mul)``."""
    xp, parts = context.xp, []
    for block in blocks:
        dim, mul = block.shape[-2:]
        ordered = block if layout == "ir_mul" or dim == 1 or mul == 1 else xp.matrix_transpose(block)
        parts.append(xp.reshape(ordered, (*leading, dim * mul)))
    if not parts:
        return xp.zeros((*leading, 0), dtype=context.dtype, device=context.device)
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)
