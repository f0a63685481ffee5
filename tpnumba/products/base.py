"""What every product is: an operator made of a form, with call, vjp, jvp, adjoints, cost and coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import accumulate, pairwise
from math import prod
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from tpnumba.backends import evaluate
from tpnumba.backends.adapters.graphs import call_as_node, is_compiling
from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import Context, check_out, common_context, require_result
from tpnumba.backends.prepared import Evaluated, PreparedCalls
from tpnumba.backends.registry import check_backend, resolve_threads
from tpnumba.backends.specialize import specialize
from tpnumba.inline.cuda import cuda_source
from tpnumba.inline.recipes import ProductRecipe
from tpnumba.plans.base import dtype_name
from tpnumba.plans.methods import Methods
from tpnumba.products.form import (
    AdjointArguments,
    FormAdjoint,
    FormOperator,
    given_tangents,
    require_shape,
    require_shapes_of,
)

if TYPE_CHECKING:
    from tpnumba.inline.kernel import NumbaKernel

Array = Any
Shape = tuple[int, ...]


class Operator(FormOperator):
    """A product of two features, perhaps with weights: linear in each of them, or in each of several parts of these."""

    _calls: PreparedCalls
    _pullbacks: PreparedCalls

    def _initialize(self, *arguments: Any, **named: Any) -> None:
        super()._initialize(*arguments, **named)
        self.__dict__.update(_calls=PreparedCalls(), _pullbacks=PreparedCalls())

    def adjoint(self, i: int) -> Operator:
        """The operator of the gradient with respect to argument ``i`` (0, 1, or 2 for the weights).

        Weights that a product is linear in part by part (``LowRankTensorProduct``) are as many arguments side by side:
        2, 3 and so on are their parts.

        It takes the same arguments, but a cotangent of the result in place of argument ``i``, and gives the gradient of
        that argument, one a sample: ``<g, p(x1, x2)> = <p.adjoint(0)(g, x2), x1>``. Its own adjoints give derivatives
        of any order; ``p.adjoint(i).adjoint(i) == p`` (for weights: the part of it that has weights).

        Raises:
            ValueError: there is no such argument.
        """
        arguments = AdjointArguments.of(self, i)
        return arguments.base if arguments.is_base else Adjoint(**arguments._asdict())

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
        if is_compiling():
            return call_as_node(self, "__call__", (x1, x2, weights), {}, backend, out)
        inputs = (x1, x2) if weights is None else (x1, x2, weights)
        if (found := self._calls.evaluate(inputs, out, backend, num_threads)) is not None:
            return found[0]
        named = self._named(x1, x2, weights)
        context = common_context(named)
        check_backend(backend)
        threads = resolve_threads(num_threads)
        samples = self._samples(named)
        shape = (*samples, self.form.sizes[self.form.output])
        if out is not None:
            check_out(out, shape, context, named)
        else:
            require_result(shape, context)
        operands, arrays = self._bound(named, context)
        call = Call(self.methods, operands, samples, samples, context, backend, threads, self._operand_names)
        results = evaluate(call, arrays, out)
        self._calls.note([Evaluated(call, arrays, range(len(arrays)))], inputs, results, out, num_threads)
        return results[0]

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
        if is_compiling():
            return tuple(call_as_node(self, "vjp", (x1, x2, cotangent), {"weights": weights}, backend))
        inputs = (x1, x2, cotangent) if weights is None else (x1, x2, weights, cotangent)
        if (found := self._pullbacks.evaluate(inputs, None, backend, num_threads)) is not None:
            return tuple(found)
        named = self._named(x1, x2, weights)
        context = common_context({**named, "cotangent": cotangent})
        check_backend(backend)
        threads = resolve_threads(num_threads)
        samples = self._samples(named)
        require_shape("cotangent", cotangent, (*samples, self.form.sizes[self.form.output]))
        require_result((sum(prod(array.shape) for array in named.values()),), context)
        operands, arrays = self._bound(named, context)
        gradients: list[Array] = []
        evaluated = []
        for i in range(min(len(operands), len(self._cut([*named.values()])))):
            others = *operands[:i], *operands[i + 1 :], self.form.output
            batch = tuple(arrays[i].shape[:-1])
            methods = self.methods.adjoint(operands[i])
            call = Call(methods, others, samples, batch, context, backend, threads, self._operand_names)
            given = *arrays[:i], *arrays[i + 1 :], cotangent
            gradients += evaluate(call, given)
            places = *range(i), *range(i + 1, len(arrays)), len(inputs) - 1
            evaluated.append(Evaluated(call, given, places))
        self._pullbacks.note(evaluated, inputs, gradients, None, num_threads)
        if len(gradients) < len(named):  # weights of length zero, of which the form knows nothing
            gradients.append(context.xp.zeros_like(named["weights"], dtype=context.dtype))
        if len(gradients) > len(named):
            gradients[2:] = [context.xp.concat(gradients[2:], axis=-1)]
        return tuple(gradients)

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
        if is_compiling():
            named = {"weights": weights, "tweights": tweights}
            return call_as_node(self, "jvp", (x1, x2, t1, t2), named, backend)
        named = self._named(x1, x2, weights)
        tangents = given_tangents(named, {"t1": t1, "t2": t2}, tweights=tweights)
        context = common_context({**named, **tangents})
        check_backend(backend)
        threads = resolve_threads(num_threads)
        samples = self._samples(named)
        require_shapes_of(named, tangents)
        require_result((*samples, self.form.sizes[self.form.output]), context)
        operands, arrays = self._bound(named, context)

        def part(methods: Methods, given: list[Array]) -> Array:
            call = Call(methods, operands, samples, samples, context, backend, threads, self._operand_names)
            return evaluate(call, given)[0]

        return reduce(add, (part(*of) for of in self._along(operands, arrays, self._cut([*tangents.values()]))))

    def numba_kernel(self, dtype: Any = "float64") -> NumbaKernel:
        """The product of one sample, for loops of your own that Numba compiles: ``kernel(out, x1, x2[, weights])``.

        To be called in a function of ``numba.njit``, as an object that this function finds among its globals, closes
        over, or is given as an argument; in ``prange`` as well, with ``cache=True`` and with fast-math of your own. It
        writes ``out`` and allocates nothing. Arrays are one-dimensional, of ``dtype`` and of any strides; ``out`` must
        not overlap the others, which may be the same array. The numbers are those of the call but for rounding: sums
        stand in another order. Whatever the method of the product, its sparse coefficients are what is evaluated.

        Small products are straight-line code, of which compilers may make part of your function; in larger ones,
        beyond 12,000 operations, what is largest is a loop over constant tables. Compiling takes 0.1 to 2 s.

        Numba's cache knows a function by its file, its arguments and what it closes over. A kernel among its globals is
        compared when the machine code is read, so that none of another product is run.

        Args:
            dtype: ``float64`` or ``float32``, of all arrays and of the arithmetic.

        Raises:
            TypeError: another dtype.
            ValueError: more than 524,288 terms. In the compiled function: an array of another size.

        Example:
            >>> import numba, numpy as np, tpnumba as tp
            >>> p = tp.GauntTensorProduct(2, 2)
            >>> kernel = p.numba_kernel()
            >>> @numba.njit
            ... def sum_of_squares(features):
            ...     out, total = np.empty(25), np.zeros(25)
            ...     for x in features:
            ...         kernel(out, x, x)
            ...         total += out
            ...     return total
            >>> x = np.random.default_rng(0).standard_normal((10, 9))
            >>> bool(np.allclose(sum_of_squares(x), p(x, x).sum(axis=0)))
            True
        """
        from tpnumba.inline.kernel import kernel_of

        return kernel_of(self._recipe(), dtype_name(dtype))

    def cuda_source(self, dtype: Any = "float32", *, name: str = "tensor_product") -> str:
        """The product of one sample as CUDA: ``__device__ void name(T* out, const T* x1, const T* x2[, weights])``.

        To be put in front of a kernel of your own, for ``cupy.RawModule`` or NVRTC. Numbers of an argument follow each
        other; ``out`` must not overlap the others. Products that are kept straight (see :meth:`numba_kernel`) need no
        memory of their own, so that arrays of the caller, such as ``float out[25]``, can stay in registers; larger ones
        have tables in the memory of the device, named after the function.

        Args:
            dtype: ``float32`` or ``float64``, of all arrays and of the arithmetic.
            name: of the function.

        Raises:
            TypeError: another dtype.
            ValueError: no identifier, or more than 524,288 terms.

        Example:
            >>> import tpnumba as tp
            >>> print(tp.FullTensorProduct("1o", "1o", "0e").cuda_source(name="dot"))
            // 3 terms: out[1], x1[3], x2[3].
            __device__ __forceinline__ void dot(
                float* __restrict__ out, const float* __restrict__ x1, const float* __restrict__ x2) {
                const float t0 = x1[0];
                const float t1 = x2[0];
                const float t2 = t0 * t1;
                const float t3 = 0.57735026f * t2;
                const float t4 = x1[1];
                const float t5 = x2[1];
                const float t6 = t4 * t5;
                const float t7 = 0.57735026f * t6 + t3;
                const float t8 = x1[2];
                const float t9 = x2[2];
                const float t10 = t8 * t9;
                const float t11 = 0.57735026f * t10 + t7;
                out[0] = t11;
            }
            <BLANKLINE>
        """
        return cuda_source(self._recipe(), dtype_name(dtype), name)

    def _recipe(self) -> ProductRecipe:
        """What is written down of one sample; weights of length zero are no argument."""
        operands = self.argument_operands if self.weight_numel else self.argument_operands[:2]
        return ProductRecipe(self.form, operands)

    def specialize(self, dtype: Any = "float32", *, gradients: bool = True) -> int:
        """Compile machine code for this operator on the processor now, and keep it in the cache.

        Small products (Clebsch-Gordan to L = 4, Gaunt to L = 5, single degrees) get code of their own after about as
        many calls as compiling takes time, in the background; the results have the same bits before and after. This
        makes it at once, for what counts every call, as in a container.

        Args:
            dtype: ``float32`` or ``float64``.
            gradients: also for what ``vjp`` computes.

        Returns:
            The number of plans that have code of their own now: of the product, and of each gradient. 0 where the
            product has too many terms, mixes channels, or ``TPNUMBA_SPECIALIZE`` is 0.

        Raises:
            TypeError: another dtype.
            RuntimeError: Numba's compiler is turned off.

        >>> import tpnumba as tp
        >>> tp.GauntTensorProduct(2, 2).specialize("float64")
        3
        """
        methods = [self.methods]
        if gradients:
            methods += [self.methods.adjoint(operand) for operand in self.argument_operands]
        return specialize([each.choose("cpu", dtype_name(dtype))[1] for each in methods], dtype)

    def _named(self, x1: Array, x2: Array, weights: Array | None) -> dict[str, Array]:
        """The arguments that were given, by name."""
        if weights is None:
            if self.weight_numel:
                raise ValueError(f"weights are missing: an array of shape (..., {self.weight_numel}) is expected")
            return {"x1": x1, "x2": x2}
        if not self.weight_numel and tuple(getattr(weights, "shape", ()))[-1:] not in ((), (0,)):
            raise ValueError(f"weights were given, but {type(self).__name__} has none here (weight_numel = 0)")
        return {"x1": x1, "x2": x2, "weights": weights}

    def _bound(self, named: Mapping[str, Array], context: Context) -> tuple[tuple[int, ...], list[Array]]:
        """The operands of the form with their arrays; weights of length zero may be given or left out."""
        arrays, operands = self._cut([*named.values()]), self.argument_operands
        if len(arrays) == len(operands):
            return operands, arrays
        if len(arrays) < len(operands):
            arrays.append(context.xp.zeros((0,), dtype=context.dtype, device=context.device))
        return operands, arrays[: len(operands)]

    def _cut(self, arrays: list[Array]) -> list[Array]:
        """The arrays of the arguments, with weights cut into the operands that stand side by side in them."""
        of_weights = self.argument_operands[2:]
        if len(arrays) < 3 or len(of_weights) < 2:
            return arrays
        ends = [*accumulate(self.form.sizes[operand] for operand in of_weights)]
        return [*arrays[:2], *(arrays[2][..., start:end] for start, end in pairwise([0, *ends]))]

    def _samples(self, named: Mapping[str, Array]) -> Shape:
        """The broadcast leading axes, after checking the last one."""
        leading: list[Shape] = []
        for i, (name, array) in enumerate(named.items()):
            shape = tuple(array.shape)
            size = self.form.sizes[self.argument_operands[i]] if i < 2 else self.weight_numel
            if not shape or shape[-1] != size:
                kind = "" if name == "weights" else f" for the irreps {self._irreps[self.argument_operands[i]]}"
                raise ValueError(f"{name} must have shape (..., {size}){kind}, got {shape}")
            leading.append(shape[:-1])
        if leading.count(leading[0]) == len(leading):
            return leading[0]
        try:
            return np.broadcast_shapes(*leading)
        except ValueError:
            shown = ", ".join(f"{name} {shape}" for name, shape in zip(named, leading, strict=True))
            raise ValueError(f"the leading axes do not broadcast: {shown}") from None


class Adjoint(FormAdjoint, Operator):
    """An operator whose result is the gradient of another one's argument; made by :meth:`Operator.adjoint`."""
