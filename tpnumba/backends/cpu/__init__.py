"""The processor's backend: compiled kernels for contractions of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tpnumba.backends.namespaces import Setting
from tpnumba.plans.base import Plan
from tpnumba.plans.contraction import Contraction


def supports(plan: Plan, setting: Setting) -> bool:
    """Whether there is a kernel for ``plan``."""
    if not isinstance(plan, Contraction):
        return False
    # Here and below: importing Numba takes longer than importing all the rest.
    from tpnumba.backends.cpu.program import program_of

    return program_of(plan, setting.dtype_name) is not None


def run(
    plan: Plan,
    operands: Mapping[int, Any],
    full: tuple[int, ...],
    batch: tuple[int, ...],
    setting: Setting,
    out: Any,
    num_threads: int | None,
) -> Any:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.run` for the arguments."""
    from tpnumba.backends.cpu.evaluate import run

    assert isinstance(plan, Contraction)
    return run(plan, operands, full, batch, setting, out, num_threads)
