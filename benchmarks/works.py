"""What a work is: something that tpnumba and its peers both do, on the same numbers, held against bars."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.bars import Bar
from benchmarks.peers import Run

Array = npt.NDArray[Any]


class Task(enum.StrEnum):
    """What is asked."""

    FORWARD = "forward"
    BACKWARD = "backward"  # the gradients of all operands for a given cotangent
    BOTH = "both"  # the result and the gradients
    JACOBIAN = "jacobian"  # the result and its derivatives with respect to the points


class Given(Protocol):
    """The numbers that a work is done on."""

    def rows(self, chosen: npt.NDArray[np.intp]) -> Any:
        """Some of the samples, in float64."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something to be done on one batch.

    Attributes:
        group: the family, as in ``mimo-natural``; its members differ in ``lmax`` or size alone.
        kind: what is done, as :data:`benchmarks.peers.PEERS` names it.
        size: tells the members of a group apart; L where there is one.
    """

    group: str
    size: str
    kind: str
    batch: int
    task: Task
    dtype: str
    bars: tuple[Bar, ...]
    lmax: int | None = None

    @property
    def name(self) -> str:
        """What ``--cases`` is matched with."""
        return f"{self.group}-{self.size}-{self.task}-{self.dtype}"

    @property
    def family(self) -> tuple[str, ...]:
        """Works that only grow from one to the next: what did not fit once does not fit again."""
        return self.group, str(self.task), self.dtype

    def operands(self) -> Given:
        """Random numbers, the same in every process."""
        raise NotImplementedError

    def ours(self, given: Any, threads: int) -> Run:
        """By tpnumba."""
        raise NotImplementedError

    def reference(self, given: Any) -> tuple[Array, ...]:
        """By the reference backend, on float64; a row for each sample."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """What tables and files say of it; None: it has no such thing."""
        unknown = dict.fromkeys(("columns", "paths", "expressivity", "flops", "bytes"))
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "bars"}
        return {**unknown, **own, "name": self.name, "bars": [bar.title for bar in self.bars]}
