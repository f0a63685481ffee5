"""Gate: activation functions for scalars, and scalars that gate irreps of higher degree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from tpnumba.backends.namespaces import Context
from tpnumba.irreps import Irrep, Irreps
from tpnumba.nn import blocks
from tpnumba.nn.activations import Activation
from tpnumba.nn.checks import context_of, require_last_axis
from tpnumba.plans.base import LAYOUTS
from tpnumba.products.clebsch_gordan import ElementwiseTensorProduct
from tpnumba.products.form import require_shape
from tpnumba.products.instructions import check_choice

Array = Any
Activations = tuple[Activation | None, ...]


class _Place(NamedTuple):
    """Copies ``start`` to ``stop`` of a block of the input."""

    block: int
    start: int
    stop: int


class _Step(NamedTuple):
    """One block of the output: copies of the input, and for a gated one the copies that gate it."""

    source: _Place
    gate: _Place | None
    activation: Activation | None


@dataclass(frozen=True, init=False)
class Gate:
    """Activation functions for scalars, and irreps multiplied by scalars of their own.

    ``out = f(scalars), g(gates) * gated``, as e3nn's ``nn.Gate`` (Weiler et al., *3D Steerable CNNs*, NeurIPS 2018).
    The input holds the three together, sorted by irrep (:attr:`irreps_in`).

    Args:
        irreps_scalars: scalars, ``0e`` and ``0o``.
        act_scalars: an :class:`Activation`, or None for the identity, for each of their blocks.
        irreps_gates: scalars, one for each copy of ``irreps_gated``.
        act_gates: likewise for each of their blocks.
        irreps_gated: what they multiply.
        layout: ``mul_ir`` or ``ir_mul``.

    The scale of each activation is that of the :class:`Activation`: e3nn's gate has ``Activation.normalized(name,
    moment="sampled")``. An odd scalar needs an odd or an even function, which also says the parity of the result.

    Raises:
        TypeError, ValueError: malformed irreps, irreps that are no scalars, another number of activations than of
            blocks, of gates than of what they gate, or a function of no parity for odd scalars.

    Example:
        >>> import numpy as np
        >>> gate = Gate("0e", [Activation("silu")], "0e", [Activation("sigmoid")], "1o")
        >>> gate.irreps_in, gate.irreps_out
        (2x0e+1x1o, 1x0e+1x1o)
        >>> gate(np.array([1.0, 0.0, 2.0, 4.0, 6.0])).round(6)
        array([0.731059, 1.      , 2.      , 3.      ])
    """

    irreps_scalars: Irreps
    act_scalars: Activations
    irreps_gates: Irreps
    act_gates: Activations
    irreps_gated: Irreps
    layout: str

    def __init__(
        self,
        irreps_scalars: Any,
        act_scalars: Sequence[Activation | None],
        irreps_gates: Any,
        act_gates: Sequence[Activation | None],
        irreps_gated: Any,
        *,
        layout: str = "mul_ir",
    ) -> None:
        fields = {
            "irreps_scalars": Irreps(irreps_scalars),
            "act_scalars": tuple(act_scalars),
            "irreps_gates": Irreps(irreps_gates),
            "act_gates": tuple(act_gates),
            "irreps_gated": Irreps(irreps_gated),
            "layout": check_choice("layout", layout, LAYOUTS),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        gates, gated = self.irreps_gates.num_irreps, self.irreps_gated.num_irreps
        if gates != gated:
            raise ValueError(
                f"irreps_gates must have a scalar for each of the {gated} copies of irreps_gated, got {gates}"
            )
        _activated("scalars", self.irreps_scalars, self.act_scalars)
        _activated("gates", self.irreps_gates, self.act_gates)

    @property
    def irreps_in(self) -> Irreps:
        """Scalars, gates and what they gate, sorted by irrep and merged."""
        return _tables(self)[0]

    @property
    def irreps_out(self) -> Irreps:
        """Scalars, then what was gated; in the layout ``ir_mul``, cut where the block of gates changes."""
        return _tables(self)[1]

    def __call__(self, x: Array) -> Array:
        """Apply the gate.

        Args:
            x: shape ``(..., irreps_in.dim)``, float32 or float64.

        Returns:
            Shape ``(..., irreps_out.dim)``.

        Raises:
            TypeError, ValueError: not such an array.
        """
        context, into = self._read({"x": x})
        results = []
        for step in _tables(self)[3]:
            source = _copies(into, step.source)
            if step.gate is None:
                results.append(source if step.activation is None else step.activation.raw(context.xp, source)[0])
                continue
            gate = _copies(into, step.gate)
            factor = gate if step.activation is None else step.activation.raw(context.xp, gate)[0]
            results.append(source * factor)
        return blocks.join(context, results, tuple(x.shape[:-1]), self.layout)

    def vjp(self, x: Array, cotangent: Array) -> Array:
        """The gradient of ``<cotangent, gate(x)>``.

        Args:
            x: as for the call.
            cotangent: shape ``(..., irreps_out.dim)``.

        Returns:
            Of the shape of ``x``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context, into = self._read({"x": x, "cotangent": cotangent})
        xp = context.xp
        require_shape("cotangent", cotangent, (*x.shape[:-1], self.irreps_out.dim))
        cotangent = xp.astype(cotangent, context.dtype, copy=False)
        found: list[dict[int, Array]] = [{} for _ in self.irreps_in]
        pieces = blocks.split(context, cotangent, _tables(self)[2], self.layout)
        for step, g in zip(_tables(self)[3], pieces, strict=True):
            source = _copies(into, step.source)
            if step.gate is None:
                if step.activation is not None:
                    g = g * step.activation.raw_derivative(xp, source)[1]  # noqa: PLW2901
                found[step.source.block][step.source.start] = g
                continue
            gate = _copies(into, step.gate)
            factor, slope = (gate, None) if step.activation is None else step.activation.raw_derivative(xp, gate)
            of_gate = xp.sum(g * source, axis=-2, keepdims=True)
            found[step.source.block][step.source.start] = g * factor
            found[step.gate.block][step.gate.start] = of_gate if slope is None else of_gate * slope
        ordered = [[parts[start] for start in sorted(parts)] for parts in found]
        whole = [parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1) for parts in ordered]
        return blocks.join(context, whole, tuple(x.shape[:-1]), self.layout)

    def jvp(self, x: Array, tangent: Array) -> Array:
        """The derivative of ``gate(x)`` along a tangent of the shape of ``x``: shape ``(..., irreps_out.dim)``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context, into = self._read({"x": x, "tangent": tangent})
        xp = context.xp
        require_shape("tangent", tangent, tuple(x.shape))
        tangent = xp.astype(tangent, context.dtype, copy=False)
        along = blocks.split(context, tangent, self.irreps_in, self.layout)
        results = []
        for step in _tables(self)[3]:
            source, t = _copies(into, step.source), _copies(along, step.source)
            if step.gate is None:
                results.append(t if step.activation is None else t * step.activation.raw_derivative(xp, source)[1])
                continue
            gate, tgate = _copies(into, step.gate), _copies(along, step.gate)
            factor, slope = (gate, None) if step.activation is None else step.activation.raw_derivative(xp, gate)
            results.append(t * factor + source * (tgate if slope is None else slope * tgate))
        return blocks.join(context, results, tuple(x.shape[:-1]), self.layout)

    def _read(self, named: dict[str, Array]) -> tuple[Context, list[Array]]:
        context = context_of(named)
        x = named["x"]
        require_last_axis("x", x, self.irreps_in.dim, self.irreps_in)
        x = context.xp.astype(x, context.dtype, copy=False)
        return context, blocks.split(context, x, self.irreps_in, self.layout)


def _copies(of: list[Array], place: _Place) -> Array:
    return of[place.block][..., place.start : place.stop]


def _activated(name: str, irreps: Irreps, activations: Activations) -> Irreps:
    """The scalars after their activations, with their parity."""
    if len(activations) != len(irreps):
        raise ValueError(
            f"act_{name} must have {len(irreps)} items, one a block of irreps_{name} {irreps}, got {len(activations)}"
        )
    found = []
    for (mul, ir), activation in zip(irreps, activations, strict=True):
        if ir.l:
            raise ValueError(f"irreps_{name} must be scalars, got {irreps}")
        if activation is not None and not isinstance(activation, Activation):
            raise TypeError(f"act_{name} must hold Activation objects or None, got {activation!r}")
        parity = ir.p if activation is None or ir.p == 1 else activation.parity
        if parity == 0:
            assert activation is not None
            raise ValueError(f"act_{name}: {activation.name} is neither even nor odd, so it cannot take {mul}x{ir}")
        found.append((mul, Irrep(0, parity)))
    return Irreps(found)


@lru_cache(maxsize=256)
def _tables(gate: Gate) -> tuple[Irreps, Irreps, Irreps, tuple[_Step, ...]]:
    """The irreps of the input and the output; the output cut into what is made at a time; and how each is made."""
    groups = gate.irreps_scalars, gate.irreps_gates, gate.irreps_gated
    ordered = Irreps([block for irreps in groups for block in irreps.simplify()]).sort()
    irreps_in = ordered.irreps.simplify()
    homes: list[list[_Place]] = []  # of each group: where its simplified blocks stand
    number = 0
    for irreps in groups:
        homes.append([])
        for _ in irreps.simplify():
            before = ordered.irreps[: ordered.p[number]]
            ir = ordered.irreps[ordered.p[number]].ir
            start = sum(block.mul for block in before if block.ir == ir)
            mul = ordered.irreps[ordered.p[number]].mul
            block = next(i for i, merged in enumerate(irreps_in) if merged.ir == ir)
            homes[-1].append(_Place(block, start, start + mul))
            number += 1

    def place(group: int, first: int, mul: int) -> _Place:
        """Where the copies from number ``first`` on of a group stand."""
        for home in homes[group]:
            size = home.stop - home.start
            if first < size:
                return _Place(home.block, home.start + first, home.start + first + mul)
            first -= size
        raise AssertionError("a copy beyond its group")

    steps, out = [], []
    first = 0
    for mul, activation, ir in _blocks(gate.irreps_scalars, gate.act_scalars, "scalars"):
        steps.append(_Step(place(0, first, mul), None, activation))
        out.append((mul, ir))
        first += mul
    first = 0
    for mul, activation, gate_ir in _blocks(gate.irreps_gates, gate.act_gates, "gates"):
        product = ElementwiseTensorProduct(_between(gate.irreps_gated, first, first + mul), Irreps([(mul, gate_ir)]))
        for (part, _), (_, ir_out) in zip(product.irreps_in1, product.irreps_out, strict=True):
            steps.append(_Step(place(2, first, part), place(1, first, part), activation))
            out.append((part, ir_out))
            first += part
    cut = Irreps(out)
    if gate.layout == "ir_mul":
        return irreps_in, cut, cut, tuple(steps)
    scalars = _activated("scalars", gate.irreps_scalars, gate.act_scalars)
    gates = _activated("gates", gate.irreps_gates, gate.act_gates)
    return irreps_in, scalars + ElementwiseTensorProduct(gate.irreps_gated, gates).irreps_out, cut, tuple(steps)


def _blocks(irreps: Irreps, activations: Activations, name: str) -> list[tuple[int, Activation | None, Irrep]]:
    after = _activated(name, irreps, activations)
    return [(mul, activation, ir) for (mul, ir), activation in zip(after, activations, strict=True) if mul]


def _between(irreps: Irreps, start: int, stop: int) -> Irreps:
    """The irreps of the copies ``start`` to ``stop``."""
    found, first = [], 0
    for mul, ir in irreps:
        found.append((max(0, min(stop, first + mul) - max(start, first)), ir))
        first += mul
    return Irreps(found).simplify()
