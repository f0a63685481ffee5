"""The GPU's backend: kernels compiled at run time for CuPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from tpnumba.backends.gpu.contraction import make_program as contraction_program
from tpnumba.backends.gpu.device import missing, require_device
from tpnumba.backends.gpu.fixed_factors import make_program as gradient_program
from tpnumba.backends.gpu.harmonics import program_of as harmonics_program_of
from tpnumba.backends.gpu.program import Program
from tpnumba.backends.gpu.staged import Staged, make_staged
from tpnumba.backends.gpu.transform import make_program as transform_program
from tpnumba.backends.namespaces import Context
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.harmonics import Harmonics
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Transform

__all__ = ["missing", "program_of", "require_device", "run", "run_harmonics", "supports"]


def supports(plan: Plan | Harmonics, context: Context) -> bool:
    """Whether there is a kernel for ``plan``."""
    if isinstance(plan, Harmonics):
        return harmonics_program_of(plan, context.dtype_name) is not None
    return program_of(plan, context.dtype_name) is not None


@lru_cache(maxsize=512)
def program_of(plan: Plan, dtype: str) -> Program | Staged | None:
    """The program of ``plan``: of one kernel, or in steps; None if its tables would be too large."""
    match plan:
        case Contraction():
            return gradient_program(plan, dtype) or contraction_program(plan, dtype)
        case Transform() | Synthesis():
            return transform_program(plan, dtype) or _staged(
                plan.with_access((Access.BATCH,) * len(plan.operands)), dtype
            )
    return None


@lru_cache(maxsize=512)
def _staged(plan: Transform | Synthesis, dtype: str) -> Staged | None:
    return make_staged(plan, dtype)


def run(
    plan: Plan,
    operands: Mapping[int, Any],
    full: tuple[int, ...],
    batch: tuple[int, ...],
    context: Context,
    out: Any,
    num_threads: int | None,  # noqa: ARG001
) -> Any:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.run` for the arguments."""
    from tpnumba.backends.gpu import launch, staged_launch

    program = program_of(plan, context.dtype_name)
    assert program is not None  # asked for before the plan came here
    evaluate = (
        partial(launch.evaluate, program) if isinstance(program, Program) else partial(staged_launch.evaluate, program)
    )
    return launch.run(evaluate, plan, operands, full, batch, context, out)


def run_harmonics(
    plan: Harmonics, arrays: tuple[Any, ...], context: Context, out: Any, num_threads: int | None
) -> tuple[Any, ...]:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.harmonics.run` for the arguments."""
    from tpnumba.backends.gpu.harmonics import run

    return run(plan, arrays, context, out, num_threads)
