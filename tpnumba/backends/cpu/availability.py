"""Which arrays the processor's kernels take, and whether there can be kernels."""

from __future__ import annotations

import sys
from functools import lru_cache

from tpnumba.backends.namespaces import Context, is_jax, is_numpy, is_torch

TAKES = "arrays of numpy, torch and jax in the processor's memory"


def accepts(context: Context) -> bool:
    """Whether the arrays of a call are in the processor's memory: those of NumPy, and of torch and jax there."""
    if is_numpy(context.xp):
        return True
    if is_torch(context.xp):
        return bool(context.device.type == "cpu")
    if not is_jax(context.xp):
        return False
    if context.device is not None:
        return bool(context.device.platform == "cpu")
    # In a trace, and of sharded arrays, there is no single device: the primitive is lowered for the one it runs on.
    return bool(sys.modules["jax"].default_backend() == "cpu")


@lru_cache(maxsize=1)
def missing() -> Exception | None:
    """What stands in the way of kernels, as an error; None if nothing does."""
    import numba

    if not getattr(numba.config, "DISABLE_JIT", 0):
        return None
    return RuntimeError(
        "backend 'cpu' needs Numba's compiler: NUMBA_DISABLE_JIT is set, and kernels do not run as Python; unset it, or"
        " use backend 'generic', which is slow"
    )
