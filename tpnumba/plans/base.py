"""What all plans share: operands, an output, adjoints, a hash by key, and a cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache, wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar, cast

import numpy as np

from tpnumba.irreps import Irreps
from tpnumba.limits import readable_size
from tpnumba.plans.access import Access

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")

ITEMSIZE = {"float32": 4, "float64": 8}
LAYOUTS = ("mul_ir", "ir_mul")

#: Temporaries of the reference backend, in bytes, for as many samples as fit (at least one). Far below the 64 MB that
#: are promised: portions that stay in cache are faster.
PORTION_BYTES = 2**22


def dtype_name(dtype: Any) -> str:
    """``float32`` or ``float64``, of a name or whatever NumPy reads as a dtype.

    Raises:
        TypeError: another dtype, or none.
    """
    try:
        name = dtype if dtype is None or isinstance(dtype, str) else np.dtype(dtype).name
    except TypeError:
        name = None
    if name not in ITEMSIZE:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}")
    return str(name)


def cached_on_instance(function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Keep what a function finds about a frozen object, for each choice of the other arguments, on that very object.

    A cache shared by all objects has to compare two that are equal, at every call: 0.1 ms for the plan of a product of
    degree 4, against 0.03 ms for a sample of it.
    """
    name = function.__qualname__

    @wraps(function)
    def find(owner: S, /, *key: P.args, **named: P.kwargs) -> R:
        assert not named  # one key for one choice
        known = owner.__dict__.get("_cached")
        if known is None:
            known = owner.__dict__.setdefault("_cached", {})
        try:
            return cast(R, known[name, key])
        except KeyError:
            return cast(R, known.setdefault((name, key), function(owner, *key, **named)))

    return find


class Cost(NamedTuple):
    """What one evaluation takes.

    ``flops`` counts multiplications and additions of the plan's non-zeros in the cheapest order; ``bytes`` is what must
    be read and written at least, every operand once; ``workspace`` is the extra memory of the reference backend.
    """

    flops: int
    bytes: int
    workspace: int

    def __str__(self) -> str:
        return f"{self.flops:,} flops, {self.bytes:,} bytes, {readable_size(self.workspace)} workspace"


@dataclass(frozen=True, slots=True)
class Segment:
    """One irrep block of an operand: ``mul`` copies of ``dim`` components, starting at ``offset``.

    How the copies split into channels (u, v, w) is said by the path that reads them.
    """

    offset: int
    mul: int
    dim: int

    @property
    def slice(self) -> slice:
        """The block in an array of shape ``(..., operand.size)``."""
        return slice(self.offset, self.offset + self.mul * self.dim)


@dataclass(frozen=True, slots=True)
class Operand:
    """An array that the form is linear in, with its last axis cut into segments.

    ``access`` is ``batch`` (a row a sample), ``shared`` (one row for all samples) or ``indexed`` (rows by number, then
    ``end`` says the end of an edge whose nodes they belong to). ``layout`` is ``mul_ir`` (components fastest) or
    ``ir_mul`` (copies fastest), for every segment.
    """

    name: str
    segments: tuple[Segment, ...]
    access: Access = Access.BATCH
    layout: str = "mul_ir"
    end: str | None = None

    @property
    def size(self) -> int:
        """The length of the last axis."""
        return sum(segment.mul * segment.dim for segment in self.segments)

    @classmethod
    def of_irreps(cls, name: str, irreps: Irreps, layout: str = "mul_ir") -> Operand:
        """An operand with one segment per block of ``irreps``."""
        segments = (
            Segment(where.start, block.mul, block.ir.dim) for where, block in zip(irreps.slices(), irreps, strict=True)
        )
        return cls(name, tuple(segments), layout=layout)


class Recomputed:
    """A frozen dataclass of which nothing but its fields is pickled: what it has found and kept is found anew."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(cast(Any, self))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class Plan(Recomputed):
    """A multilinear form in its operands. Evaluating it is taking its derivative with respect to ``operands[output]``.

    So the gradient with respect to another operand is the same plan with another output. Frozen, hashable, picklable.
    """

    operands: tuple[Operand, ...]
    output: int

    def __hash__(self) -> int:
        # Large plans are looked up at every call; the hash of their nested tuples is taken once.
        value = self.__dict__.get("_hash")
        if value is None:
            value = hash((type(self).__name__, *(getattr(self, field.name) for field in fields(self))))
            self.__dict__["_hash"] = value
        return int(value)

    def describe(self, what: str) -> str:
        """What ``repr`` says: the operands with their access, and ``what`` is done with them."""
        described = [f"{operand.name}: {operand.size} {operand.access}" for operand in self.operands]
        inputs = ", ".join(described[i] for i in self.inputs)
        return f"{type(self).__name__}({inputs} -> {described[self.output]} | {what})"

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The length of each operand's last axis."""
        return tuple(operand.size for operand in self.operands)

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """The places of the operands that are given."""
        return tuple(i for i in range(len(self.operands)) if i != self.output)

    @cached_property
    def result_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The last axes of each result; there is one."""
        return ((self.sizes[self.output],),)

    @cached_property
    def row_numbers(self) -> int:
        """The numbers of one sample, of all operands together."""
        return sum(self.sizes)

    @cached_property
    def result_sizes(self) -> tuple[int, ...]:
        """The numbers a sample of each result."""
        return (self.sizes[self.output],)

    @cached_property
    def shared_operands(self) -> frozenset[int]:
        """The operands with one row for all samples."""
        return frozenset(i for i, operand in enumerate(self.operands) if operand.access is Access.SHARED)

    @cached_property
    def has_indexed_operands(self) -> bool:
        """Whether samples find rows by number."""
        return any(operand.access == Access.INDEXED for operand in self.operands)

    @cached_property
    def on_rows(self) -> Self:
        """The same form with a row a sample where it has indexed operands."""
        access = (operand.access for operand in self.operands)
        return self.with_access(tuple(Access.BATCH if kind == Access.INDEXED else kind for kind in access))

    @cached_property
    def sums_samples(self) -> bool:
        """Whether the result is one row, the sum over all samples."""
        return self.output in self.shared_operands

    def adjoint(self, i: int) -> Self:
        """The same form with operand ``i`` as the output."""
        plan: Self = _with_output(self, i)
        return plan

    def with_access(self, access: tuple[Access, ...]) -> Self:
        """The same form with each operand ``batch`` or ``shared`` as said."""
        plan: Self = _with_access(self, access)
        return plan

    @property
    def flops(self) -> tuple[int, int]:
        """Operations a sample, and operations that are done once for all samples."""
        raise NotImplementedError

    @property
    def workspace(self) -> int:
        """Numbers a sample that the reference backend keeps besides operands and result."""
        raise NotImplementedError

    @property
    def fills_output(self) -> bool:
        """Whether every number of the output is written; the others are zero."""
        return True

    def cost(self, batch: int = 1, dtype: str = "float32") -> Cost:
        """Operations, least memory traffic and extra memory of one evaluation of ``batch`` samples."""
        itemsize = ITEMSIZE[dtype]
        a_sample, once = self.flops
        numbers = sum(operand.size * (1 if operand.access == Access.SHARED else batch) for operand in self.operands)
        workspace = itemsize * self.workspace
        return Cost(
            flops=a_sample * batch + once,
            bytes=itemsize * numbers,
            workspace=min(workspace * batch, max(workspace, PORTION_BYTES)),
        )


@cached_on_instance
@lru_cache(maxsize=4096)
def _with_output(plan: Any, i: int) -> Any:
    return plan if i == plan.output else replace(plan, output=i)


@cached_on_instance
@lru_cache(maxsize=4096)
def _with_access(plan: Any, access: tuple[Access, ...]) -> Any:
    operands = tuple(replace(operand, access=kind) for operand, kind in zip(plan.operands, access, strict=True))
    return plan if operands == plan.operands else replace(plan, operands=operands)
