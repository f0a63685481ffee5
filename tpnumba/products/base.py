"""What every product is: an operator made of a form, with call, vjp, jvp, adjoints, cost and coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tpnumba.backends import check_backend, likely_backend, resolve_threads, run
from tpnumba.backends.compiled import register_operator, single_graph_node
from tpnumba.backends.namespaces import Context, check_out, common_context, require_result
from tpnumba.irreps import Irrep, Irreps, check_degree
from tpnumba.plans.access import Access
from tpnumba.plans.base import ITEMSIZE, Cost, Plan
from tpnumba.plans.contraction import Contraction
from tpnumba.products.entries import Coefficients, entries
from tpnumba.products.methods import Methods

Array = Any
Shape = tuple[int, ...]

_NAMES = ("x1", "x2", "weights")
_SHOWN_PATHS = 6


class PathInfo(NamedTuple):
    """One path of a product: blocks, irreps, channels, and the number in front of the Clebsch-Gordan coefficients."""

    i1: int
    i2: int
    i_out: int
    ir1: Irrep
    ir2: Irrep
    ir_out: Irrep
    channels: str
    scale: float

    def __str__(self) -> str:
        return f"{self.ir1} x {self.ir2} -> {self.ir_out}"


class Operator:
    """A product of two features, perhaps with weights: linear in each of them.

    Frozen after construction; hashable, comparable and picklable by its arguments.

    Attributes:
        irreps_in1, irreps_in2, irreps_out: the irreps of the inputs and of the result.
        weight_numel: the number of weights a sample; 0 if there are none.
        form: the mathematics, as a :class:`Contraction` with every coefficient.
        methods: what can be evaluated: the form itself, or quicker ways to the same numbers.
    """

    irreps_in1: Irreps
    irreps_in2: Irreps
    irreps_out: Irreps
    weight_numel: int
    form: Contraction
    methods: Methods
    _irreps: tuple[Irreps, ...]
    _slots: tuple[int, ...]

    def _initialize(
        self,
        arguments: Mapping[str, Any],
        form: Contraction,
        methods: Methods,
        irreps: tuple[Irreps, ...],
        slots: tuple[int, ...],
    ) -> None:
        """Fill in the operator.

        Args:
            arguments: what the constructor needs to make an equal operator.
            form, methods: with the output that this operator has.
            irreps: of every operand of the form.
            slots: the operand of the form that each positional argument stands for.
        """
        fields = {
            "_arguments": tuple(arguments.items()),
            "_irreps": irreps,
            "_slots": slots,
            "form": form,
            "methods": methods,
            "irreps_in1": irreps[slots[0]],
            "irreps_in2": irreps[slots[1]],
            "irreps_out": irreps[form.output],
            "weight_numel": irreps[slots[2]].dim if len(slots) > 2 else 0,
            "_number": register_operator(self),
        }
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return bool(self.__dict__["_arguments"] == other.__dict__["_arguments"])

    def __hash__(self) -> int:
        return hash((type(self), self.__dict__["_arguments"]))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self.__dict__["_arguments"]))

    def __repr__(self) -> str:
        listed = ", ".join(str(path) for path in self.paths[:_SHOWN_PATHS])
        more = f", ... {len(self.paths) - _SHOWN_PATHS} more" if len(self.paths) > _SHOWN_PATHS else ""
        in1, in2, out = (irreps.simplify() for irreps in (self.irreps_in1, self.irreps_in2, self.irreps_out))
        return (
            f"{type(self).__name__}({in1} x {in2} -> {out})\n"
            f"  method {self.methods}, {self.weight_numel} weights, {len(self.paths)} paths: {listed}{more}\n"
            f"  one float32 sample: {self.cost()}"
        )

    @property
    def argument_operands(self) -> tuple[int, ...]:
        """The operand of ``form`` that each argument (x1, x2 and the weights, if there are any) stands for."""
        return self._slots

    @property
    def operand_irreps(self) -> tuple[Irreps, ...]:
        """The irreps of every operand of ``form``."""
        return self._irreps

    @property
    def paths(self) -> tuple[PathInfo, ...]:
        """The paths of the form, in its order."""
        infos = []
        in1, in2, out = self._irreps[0], self._irreps[1], self._irreps[-1]
        for path in self.form.paths:
            i1, i2, i_out = path.segments[0], path.segments[1], path.segments[-1]
            assert i1 is not None  # only weights may be missing
            assert i2 is not None
            assert i_out is not None
            irreps = in1[i1].ir, in2[i2].ir, out[i_out].ir
            infos.append(PathInfo(i1, i2, i_out, *irreps, path.channels, path.scale))
        return tuple(infos)

    @property
    def method(self) -> str:
        """The algorithm for float32 arrays of NumPy; ``repr`` shows what ``auto`` takes for others."""
        return self.methods.choose("cpu", "float32")[0]

    @property
    def plan(self) -> Plan:
        """What is evaluated for float32 arrays of NumPy."""
        return self.methods.choose("cpu", "float32")[1]

    def cost(self, batch: int = 1, dtype: Any = "float32") -> Cost:
        """Operations, least memory traffic and extra memory for ``batch`` samples, none of them shared.

        Raises:
            TypeError: a dtype other than float32 and float64.
            TypeError, ValueError: ``batch`` is not a non-negative integer.
        """
        try:
            name = dtype if dtype is None or isinstance(dtype, str) else np.dtype(dtype).name
        except TypeError:
            name = None
        if name not in ITEMSIZE:
            raise TypeError(f"dtype must be float32 or float64, got {dtype!r}")
        return self.plan.cost(check_degree("batch", batch), name)

    def coefficients(self) -> Coefficients:
        """The product as a sparse table: ``out[k] = sum of values * x1[i] * x2[j] (* weights[n])``.

        Returns:
            ``(shape, coords, values)``; ``coords`` has shape ``(3, n)`` with rows (i, j, k), or ``(4, n)`` with rows
            (i, j, n, k) if there are weights. Paths without a weight stand at ``n = weight_numel``.

        Raises:
            MemoryError: the table would not fit; its size is named.
        """
        return entries(self.form, (*self._slots, self.form.output))

    def adjoint(self, i: int) -> Operator:
        """The operator of the gradient with respect to argument ``i`` (0, 1, or 2 for the weights).

        It takes the same arguments, but a cotangent of the result in place of argument ``i``, and gives the gradient of
        that argument, one a sample: ``<g, p(x1, x2)> = <p.adjoint(0)(g, x2), x1>``. Its own adjoints give derivatives
        of any order; ``p.adjoint(i).adjoint(i) == p`` (for weights: the part of it that has weights).

        Raises:
            ValueError: there is no such argument.
        """
        index = check_degree("i", i)
        if index >= len(self._slots):
            raise ValueError(f"i must be below {len(self._slots)}, the number of arguments, got {index}")
        return Adjoint.of(self, index)

    @single_graph_node
    def __call__(
        self,
        x1: Array,
        x2: Array,
        weights: Array | None = None,
        *,
        out: Array | None = None,
        backend: str = "auto",
        num_threads: int | None = None,
    ) -> Array:
        """Evaluate the product.

        Args:
            x1: shape ``(..., irreps_in1.dim)``, float32 or float64.
            x2: shape ``(..., irreps_in2.dim)``; leading axes broadcast.
            weights: shape ``(..., weight_numel)``, if there are weights; ``(weight_numel,)`` for all samples.
            out: an array of the result's shape and dtype to write into; must not overlap an input.
            backend: ``auto``, ``generic``, ``cpu`` or ``gpu``.
            num_threads: for backends with threads of their own; by default ``TPNUMBA_NUM_THREADS``.

        Returns:
            Shape ``(..., irreps_out.dim)``, in the namespace, on the device and in the (wider) dtype of the inputs.

        Raises:
            TypeError: not arrays of one namespace and device in float32 or float64.
            ValueError: a shape or a name that does not fit.
            MemoryError: the result would not fit; its size is named.
            RuntimeError: a backend that is not there.
        """
        named = self._named(x1, x2, weights)
        context = common_context(named)
        check_backend(backend)
        threads = resolve_threads(num_threads)
        full = self._samples(named)
        shape = (*full, self.form.sizes[self.form.output])
        if out is not None:
            check_out(out, shape, context, named)
        else:
            require_result(shape, context)
        arrays = dict(zip(self._slots, named.values(), strict=True))
        return self._run(self.methods, arrays, full, full, context, (backend, threads), out)

    @single_graph_node
    def vjp(
        self,
        x1: Array,
        x2: Array,
        cotangent: Array,
        *,
        weights: Array | None = None,
        backend: str = "auto",
        num_threads: int | None = None,
    ) -> tuple[Array, ...]:
        """The gradients of ``<cotangent, p(x1, x2, weights)>``.

        Args:
            cotangent: of the shape of the result.

        Returns:
            ``(g1, g2)`` or ``(g1, g2, gw)``, each of the shape of its argument: summed where that was broadcast.

        Raises:
            TypeError, ValueError, RuntimeError: as the call.
        """
        named = self._named(x1, x2, weights)
        context = common_context({**named, "cotangent": cotangent})
        check_backend(backend)
        threads = resolve_threads(num_threads)
        full = self._samples(named)
        _require_shape("cotangent", cotangent, (*full, self.form.sizes[self.form.output]))
        require_result((sum(prod(array.shape) for array in named.values()),), context)
        output = self.form.output
        arrays = {**dict(zip(self._slots, named.values(), strict=True)), output: cotangent}
        gradients = []
        for slot in self._slots:
            others = arrays.copy()
            target = tuple(others.pop(slot).shape[:-1])
            methods = self.methods.adjoint(slot)
            gradients.append(self._run(methods, others, full, target, context, (backend, threads), None))
        return tuple(gradients)

    @single_graph_node
    def jvp(
        self,
        x1: Array,
        x2: Array,
        t1: Array,
        t2: Array,
        *,
        weights: Array | None = None,
        tweights: Array | None = None,
        backend: str = "auto",
        num_threads: int | None = None,
    ) -> Array:
        """The derivative of the product along the tangents ``t1``, ``t2`` and ``tweights`` (none: zero).

        Args:
            t1, t2, tweights: of the shape of ``x1``, ``x2`` and ``weights``.

        Returns:
            Of the shape of the result.

        Raises:
            TypeError, ValueError, RuntimeError: as the call; also ``tweights`` without ``weights``.
        """
        named = self._named(x1, x2, weights)
        tangents = {"t1": t1, "t2": t2}
        if tweights is not None:
            if weights is None:
                raise ValueError("tweights were given without weights")
            tangents["tweights"] = tweights
        context = common_context({**named, **tangents})
        check_backend(backend)
        threads = resolve_threads(num_threads)
        full = self._samples(named)
        for (name, tangent), (_, array) in zip(tangents.items(), named.items(), strict=False):
            _require_shape(name, tangent, tuple(array.shape))
        require_result((*full, self.form.sizes[self.form.output]), context)
        arrays = dict(zip(self._slots, named.values(), strict=True))
        total = None
        for slot, tangent in zip(self._slots, tangents.values(), strict=False):
            methods = self.methods.linear_in(slot)
            part = self._run(methods, {**arrays, slot: tangent}, full, full, context, (backend, threads), None)
            total = part if total is None else total + part
        return total

    def _named(self, x1: Array, x2: Array, weights: Array | None) -> dict[str, Array]:
        if len(self._slots) == 2:
            if weights is not None:
                raise ValueError(f"weights were given, but {type(self).__name__} has none here (weight_numel = 0)")
            return {"x1": x1, "x2": x2}
        if weights is None:
            raise ValueError(f"weights are missing: an array of shape (..., {self.weight_numel}) is expected")
        return {"x1": x1, "x2": x2, "weights": weights}

    def _samples(self, named: Mapping[str, Array]) -> Shape:
        """The broadcast leading axes, after checking the last one."""
        leading: list[Shape] = []
        sizes = self.form.sizes
        for (name, array), slot in zip(named.items(), self._slots, strict=True):
            shape = tuple(array.shape)
            if not shape or shape[-1] != sizes[slot]:
                kind = "" if name == "weights" else f" for the irreps {self._irreps[slot]}"
                raise ValueError(f"{name} must have shape (..., {sizes[slot]}){kind}, got {shape}")
            leading.append(shape[:-1])
        if leading.count(leading[0]) == len(leading):
            return leading[0]
        try:
            return np.broadcast_shapes(*leading)
        except ValueError:
            shown = ", ".join(f"{name} {shape}" for name, shape in zip(named, leading, strict=True))
            raise ValueError(f"the leading axes do not broadcast: {shown}") from None

    def _run(
        self,
        methods: Methods,
        arrays: Mapping[int, Array],
        full: Shape,
        batch: Shape,
        context: Context,
        how: tuple[str, int | None],
        out: Array | None,
    ) -> Array:
        """Evaluate a plan, with arrays of one row for all samples told apart from batches."""
        backend, threads = how
        _, plan = methods.choose(likely_backend(backend, context), context.dtype_name)
        leading = [tuple(array.shape[:-1]) for array in arrays.values()]
        if batch == full and leading.count(full) == len(leading):
            return run(plan, arrays, full, batch, context, out=out, backend=backend, num_threads=threads)
        many = any(n != 1 for n in full)

        def is_row(shape: Shape) -> bool:
            return not shape or (many and prod(shape) == 1)

        rows = {i for i, shape in zip(arrays, leading, strict=True) if is_row(shape)}
        shared_out = is_row(batch) and (batch != full or not full)
        access = [Access.SHARED if i in rows else Access.BATCH for i in range(len(plan.operands))]
        access[plan.output] = Access.SHARED if shared_out else Access.BATCH
        operands = {
            i: context.xp.reshape(array, (array.shape[-1],)) if i in rows and array.ndim > 1 else array
            for i, array in arrays.items()
        }
        target = () if shared_out else batch
        plan = plan.with_access(tuple(access))
        result = run(plan, operands, full, target, context, out=out, backend=backend, num_threads=threads)
        return result if target == batch else context.xp.reshape(result, (*batch, result.shape[-1]))


class Adjoint(Operator):
    """An operator whose result is the gradient of another one's argument; made by :meth:`Operator.adjoint`."""

    def __init__(self, base: Operator, slots: tuple[int, ...], linear_in: tuple[int, ...]) -> None:
        form, methods = base.form, base.methods
        for operand in linear_in:
            form, methods = form.linear_in(operand), methods.linear_in(operand)
        (output,) = set(range(len(form.operands))) - set(slots)
        arguments = {"base": base, "slots": slots, "linear_in": linear_in}
        self._initialize(arguments, form.adjoint(output), methods.adjoint(output), base._irreps, slots)

    @classmethod
    def of(cls, operator: Operator, i: int) -> Operator:
        """The adjoint of any operator, an adjoint included, for argument ``i``."""
        base, linear_in = operator, frozenset[int]()
        if isinstance(operator, Adjoint):
            arguments = dict(operator.__dict__["_arguments"])
            base, linear_in = arguments["base"], frozenset(arguments["linear_in"])
        slot = operator._slots[i]
        if operator.form.linear_in(slot) != operator.form:
            linear_in |= {slot}
        slots = tuple(operator.form.output if k == i else s for k, s in enumerate(operator._slots))
        if slots == base._slots and not linear_in:
            return base
        return cls(base, slots, tuple(sorted(linear_in)))

    def __repr__(self) -> str:
        return "adjoint " + super().__repr__()


def _rebuild(cls: type[Operator], arguments: dict[str, Any]) -> Operator:
    return cls(**arguments)


def _require_shape(name: str, array: Array, shape: Shape) -> None:
    if tuple(array.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")
