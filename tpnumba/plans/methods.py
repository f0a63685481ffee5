"""The plans that compute one product, and which of them ``auto`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tpnumba.plans.base import ITEMSIZE, Plan, Recomputed, cached_on_instance
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.speed import seconds

#: The backends that ``repr`` speaks of.
_SHOWN = ("cpu", "generic")


@dataclass(frozen=True)
class Methods(Recomputed):
    """One plan for each method, by name; more than one only for ``auto``. All give the same numbers."""

    plans: tuple[tuple[str, Plan], ...]

    @classmethod
    def of(cls, method: str, form: Contraction, others: Mapping[str, Callable[[], Plan]]) -> Methods:
        """The plan of a method; of ``auto``, all that there are to choose from.

        Args:
            method: ``auto``, ``direct`` or a key of ``others``.
            form: what ``direct`` evaluates; also what is evaluated where there is nothing to do.
            others: makes the plan of each other method.
        """
        if not form.paths or method == "direct":
            return cls((("direct", form),))
        direct = (("direct", form),) if method == "auto" else ()
        return cls((*direct, *((name, make()) for name, make in others.items() if method in (name, "auto"))))

    def __hash__(self) -> int:
        # Looked up at every call in the graphs of torch and jax.
        value = self.__dict__.get("_hash")
        if value is None:
            value = self.__dict__["_hash"] = hash(self.plans)
        return int(value)

    @property
    def output(self) -> int:
        """The operand that is computed."""
        return self.plans[0][1].output

    @cached_on_instance
    def choose(self, backend: str, dtype: str) -> tuple[str, Plan]:
        """The quickest for a backend and a dtype, by name; never does the batch play a part."""
        if len(self.plans) == 1:
            return self.plans[0]
        return min(self.plans, key=lambda entry: seconds(entry[1], backend, dtype))

    @cached_on_instance
    def adjoint(self, i: int) -> Methods:
        """The same with operand ``i`` as the output."""
        return Methods(tuple((name, plan.adjoint(i)) for name, plan in self.plans))

    @cached_on_instance
    def linear_in(self, i: int) -> Methods:
        """The parts that are linear in operand ``i``."""
        return Methods(
            tuple((name, plan.linear_in(i) if isinstance(plan, Contraction) else plan) for name, plan in self.plans)
        )

    @cached_on_instance
    def gradient(self, i: int) -> Methods:
        """The gradient by operand ``i``, for a cotangent in the place of the output.

        Paths without the operand that is computed play no part in the result, and the cotangent must not bring them in.
        """
        return self.linear_in(self.output).adjoint(i)

    def __str__(self) -> str:
        if len(self.plans) == 1:
            return self.plans[0][0]
        found: dict[str, list[str]] = {}
        for backend in _SHOWN:
            for dtype in ITEMSIZE:
                found.setdefault(self.choose(backend, dtype)[0], []).append(f"{backend} {dtype}")
        return "auto: " + ", ".join(f"{name} ({', '.join(where)})" for name, where in found.items())
