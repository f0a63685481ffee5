"""Code made for plans ahead of the moment when it would be made by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tpnumba.backends.registry import require
from tpnumba.plans.base import Plan, dtype_name


def specialize(plans: Iterable[Plan], dtype: Any) -> int:
    """Make code for plans now, or take it from disk; those without code of their own are left as they are.

    Returns:
        How many plans have code.

    Raises:
        TypeError: another dtype.
        RuntimeError: there are no kernels for the processor here.
    """
    from tpnumba.backends.cpu.lowering import program_of
    from tpnumba.backends.cpu.specialised.tiers import tier_of

    dtype = dtype_name(dtype)
    require("cpu")
    made = 0
    for plan in plans:
        program = program_of(plan, dtype)
        if program is not None:
            tier = tier_of(program)
            tier.compile()
            made += tier.is_specialised
    return made


def without_code(plan: Plan, dtype: str, function: Callable[[], Any]) -> Callable[[], Any]:
    """The function with the kernel that reads tables in the place of the code that is made for the plan."""
    from tpnumba.backends.cpu.lowering import program_of
    from tpnumba.backends.cpu.specialised.tiers import tier_of

    program = program_of(plan, dtype)
    assert program is not None
    tier = tier_of(program)

    def call() -> Any:
        put_back = tier.put_aside()
        try:
            return function()
        finally:
            put_back()

    return call
