"""What operators of a form have in common: they are frozen values with irreps, paths, a cost and coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from tpnumba.backends.adapters.graphs import register_operator
from tpnumba.irreps import Irreps, check_degree
from tpnumba.plans.base import Cost, Plan, dtype_name
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.methods import Methods
from tpnumba.products.entries import Coefficients, entries
from tpnumba.products.path_info import PathInfo

_NAMES = ("x1", "x2", "weights")
_SHOWN_PATHS = 6

Array = Any


class FormOperator:
    """An operator whose mathematics is a form in its arguments.

    Frozen after construction; hashable, comparable and picklable by its arguments.

    Attributes:
        irreps_in1, irreps_in2, irreps_out: the irreps of the inputs and of the result.
        weight_numel: the number of weights a sample; 0 if there are none.
        form: the mathematics, as a :class:`Contraction` with every coefficient.
        methods: what can be evaluated: the form itself, or quicker ways to the same numbers.
        argument_operands: the operand of the form that each positional argument stands for; of weights, perhaps several
            that stand side by side in them.
    """

    irreps_in1: Irreps
    irreps_in2: Irreps
    irreps_out: Irreps
    weight_numel: int
    form: Contraction
    methods: Methods
    argument_operands: tuple[int, ...]
    _irreps: tuple[Irreps, ...]
    _operand_names: tuple[str, ...]

    def _initialize(
        self,
        arguments: Mapping[str, Any],
        form: Contraction,
        methods: Methods,
        irreps: tuple[Irreps, ...],
        argument_operands: tuple[int, ...],
    ) -> None:
        """Fill in the operator.

        Args:
            arguments: what the constructor needs to make an equal operator.
            form, methods: with the output that this operator has.
            irreps: of every operand of the form.
            argument_operands: the operand of the form that each positional argument stands for.
        """
        fields = {
            "_arguments": tuple(arguments.items()),
            "_irreps": irreps,
            "argument_operands": argument_operands,
            "_operand_names": _operand_names(argument_operands, form.output),
            "form": form,
            "methods": methods,
            "irreps_in1": irreps[argument_operands[0]],
            "irreps_in2": irreps[argument_operands[1]],
            "irreps_out": irreps[form.output],
            "weight_numel": sum(irreps[operand].dim for operand in argument_operands[2:]),
            "_number": register_operator(self, tuple(arguments.items())),
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
        return self.plan.cost(check_degree("batch", batch), dtype_name(dtype))

    def coefficients(self) -> Coefficients:
        """The product as a sparse table: ``out[k] = sum of values * x1[i] * x2[j] (* weights[n])``.

        Returns:
            ``(shape, coords, values)``; ``coords`` has shape ``(3, n)`` with rows (i, j, k), or ``(4, n)`` with rows
            (i, j, n, k) if there are weights. Paths without a weight stand at ``n = weight_numel``. Weights that are
            several operands side by side have a row for each.

        Raises:
            MemoryError: the table would not fit; its size is named.
        """
        return entries(self.form, (*self.argument_operands, self.form.output))

    def _along(
        self, operands: Sequence[int], arrays: Sequence[Array], tangents: Iterable[Array]
    ) -> Iterator[tuple[Methods, list[Array]]]:
        """What sums to the derivative along tangents: for each, the part linear in its operand, and the arrays of that.

        Args:
            operands, arrays: of the arguments.
            tangents: of the first of them; those beyond the operands are of length zero, and left out.
        """
        for i, (operand, tangent) in enumerate(zip(operands, tangents, strict=False)):
            yield self.methods.linear_in(operand), [*arrays[:i], tangent, *arrays[i + 1 :]]

    def _named_arguments(self) -> dict[str, Any]:
        """What the constructor was called with."""
        return dict(self.__dict__["_arguments"])


class AdjointArguments(NamedTuple):
    """What says which adjoint of an operator is meant.

    Attributes:
        base: the operator that is no adjoint.
        argument_operands: the operand of its form that each argument stands for.
        linear_in: the operands that every path must have.
    """

    base: Any
    argument_operands: tuple[int, ...]
    linear_in: tuple[int, ...]

    @classmethod
    def of(cls, operator: FormOperator, i: int) -> Self:
        """Of the adjoint for argument ``i`` of an operator, which may be an adjoint itself.

        Raises:
            TypeError, ValueError: there is no such argument.
        """
        index = check_degree("i", i)
        if index >= len(operator.argument_operands):
            raise ValueError(f"i must be below {len(operator.argument_operands)}, the number of arguments, got {index}")
        base, linear_in = operator, frozenset[int]()
        arguments = operator._named_arguments()
        if set(arguments) == set(cls._fields):
            base, linear_in = arguments["base"], frozenset(arguments["linear_in"])
        operand = operator.argument_operands[index]
        if operator.form.linear_in(operand) != operator.form:
            linear_in |= {operand}
        operands = tuple(
            operator.form.output if k == index else other for k, other in enumerate(operator.argument_operands)
        )
        return cls(base, operands, tuple(sorted(linear_in)))

    @property
    def is_base(self) -> bool:
        """Whether this is the operator itself."""
        return self.argument_operands == self.base.argument_operands and not self.linear_in

    @property
    def output(self) -> int:
        """The operand that is computed."""
        (output,) = set(range(len(self.base.form.operands))) - set(self.argument_operands)
        return output

    def restricted(self, plan: Any) -> Any:
        """The part of a form, or of methods, that is linear in what it must be, with this output."""
        for operand in self.linear_in:
            plan = plan.linear_in(operand)
        return plan.adjoint(self.output)


class FormAdjoint(FormOperator):
    """What adjoints add to the operators whose adjoints they are; made by ``adjoint``."""

    def __init__(self, base: FormOperator, argument_operands: tuple[int, ...], linear_in: tuple[int, ...]) -> None:
        arguments = AdjointArguments(base, argument_operands, linear_in)
        form, methods = arguments.restricted(base.form), arguments.restricted(base.methods)
        self._initialize(arguments._asdict(), form, methods, base._irreps, argument_operands)

    def __repr__(self) -> str:
        return "adjoint " + super().__repr__()


def given_tangents(
    named: Mapping[str, Array], tangents: Mapping[str, Array], **of_weights: Array | None
) -> dict[str, Array]:
    """The tangents by name, each for the argument of ``named`` in its place; that of the weights if it is not None.

    Raises:
        ValueError: the tangent of the weights without weights.
    """
    given = {**tangents, **{name: tangent for name, tangent in of_weights.items() if tangent is not None}}
    if len(given) > len(named):
        raise ValueError(f"{[*given][-1]} were given without weights")
    return given


def require_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless ``array`` has this shape."""
    if tuple(array.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")


def require_shapes_of(named: Mapping[str, Array], tangents: Mapping[str, Array]) -> None:
    """Raise ``ValueError`` unless every tangent has the shape of its argument."""
    for (name, tangent), argument in zip(tangents.items(), named.values(), strict=False):
        require_shape(name, tangent, tuple(argument.shape))


def _operand_names(argument_operands: tuple[int, ...], output: int) -> tuple[str, ...]:
    """What messages call the array that stands for each operand."""
    names = {operand: _NAMES[min(i, len(_NAMES) - 1)] for i, operand in enumerate(argument_operands)}
    return tuple(names.get(i, "cotangent") for i in range(max(*argument_operands, output) + 1))


def _rebuild(cls: type[FormOperator], arguments: dict[str, Any]) -> FormOperator:
    return cls(**arguments)
