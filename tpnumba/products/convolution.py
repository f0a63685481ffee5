"""Convolution over a graph: gather, product and sum at the receiver in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add as plus
from typing import Any

from tpnumba.backends.call import Call
from tpnumba.backends.indexed import evaluate
from tpnumba.backends.namespaces import Context, check_out, common_context, require_result
from tpnumba.backends.registry import check_backend, resolve_threads
from tpnumba.edges import PAIRS, RECEIVERS, SENDERS, Edges
from tpnumba.plans.access import Access
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.methods import Methods
from tpnumba.products.base import Operator
from tpnumba.products.form import (
    AdjointArguments,
    FormAdjoint,
    FormOperator,
    given_tangents,
    require_shape,
    require_shapes_of,
)

Array = Any
Shape = tuple[int, ...]


class _Convolution(FormOperator):
    """What a convolution and its adjoints share: a form in rows of nodes and of edges."""

    def _access(self, operand: int) -> tuple[Access, str | None]:
        found = self.form.operands[operand]
        return found.access, found.end

    def _evaluate(
        self,
        methods: Methods,
        operands: Sequence[int],
        arrays: Sequence[Array],
        batch: Shape,
        edges: Edges,
        settings: tuple[Context, str, int | None],
        out: Array | None = None,
        add: bool = False,
    ) -> Array:
        context, backend, threads = settings
        samples = (len(edges),)
        call = Call(methods, tuple(operands), samples, batch, context, backend, threads, self._operand_names, edges)
        rows = []
        for operand, array in zip(operands, arrays, strict=True):
            shared = _is_shared(self._access(operand)[0], array, edges)
            rows.append(context.xp.reshape(array, (array.shape[-1],)) if shared else array)
        return evaluate(call, rows, out, add=add)

    def _checked(
        self, arrays: Mapping[str, Array], others: Mapping[str, Array], edges: Edges, backend: str, threads: int | None
    ) -> tuple[Context, str, int | None]:
        """Check the arguments, of which ``arrays`` stand for the operands in turn."""
        if not isinstance(edges, Edges):
            raise TypeError(f"edges must be tpnumba.Edges, got {type(edges).__name__}")
        context = common_context({**arrays, **others})
        check_backend(backend)
        for (name, array), operand in zip(arrays.items(), self.argument_operands, strict=False):
            self._check_shape(name, array, operand, edges)
        return context, backend, resolve_threads(threads)

    def _check_shape(self, name: str, array: Array, operand: int, edges: Edges) -> None:
        size, shape = self.form.sizes[operand], tuple(array.shape)
        access, end = self._access(operand)
        if access is Access.INDEXED:
            rows = edges.count(str(end))
            if shape != (rows, size):
                raise ValueError(f"{name} must have shape ({rows}, {size}), a row for each of the {end}, got {shape}")
            return
        rows, of = self._rows(operand, edges)
        if shape not in ((rows, size), (size,), (1, size)):
            raise ValueError(
                f"{name} must have shape ({rows}, {size}), a row {of}, or ({size},) for all edges, got {shape}"
            )

    def _rows(self, operand: int, edges: Edges) -> tuple[int, str]:
        """The rows of an operand that may have one for each edge, and what they stand for."""
        if self._access(operand)[1] == PAIRS and edges.pairs is not None:
            return edges.num_pairs, "a pair"
        return len(edges), "an edge"

    def _result_shape(self, operand: int, edges: Edges) -> Shape:
        access, end = self._access(operand)
        rows = edges.count(str(end)) if access is Access.INDEXED else self._rows(operand, edges)[0]
        return rows, self.form.sizes[operand]

    def _named(self, node_features: Array, edge_attributes: Array, weights: Array | None) -> dict[str, Array]:
        given = {"node_features": node_features, "edge_attributes": edge_attributes}
        if self.weight_numel == 0:
            if weights is not None and tuple(getattr(weights, "shape", ()))[-1:] not in ((), (0,)):
                raise ValueError("weights were given, but the product has none (weight_numel = 0)")
            return given
        if weights is None:
            raise ValueError(f"weights are missing: an array of shape (num_edges, {self.weight_numel}) is expected")
        return {**given, "weights": weights}

    def _arrays(self, named: Mapping[str, Array], context: Context) -> list[Array]:
        """The arrays of all arguments; a product whose weights have length zero has an operand for them."""
        arrays = list(named.values())
        if len(arrays) < len(self.argument_operands):
            arrays.append(context.xp.zeros((0,), dtype=context.dtype, device=context.device))
        return arrays

    def adjoint(self, i: int) -> _Convolution:
        """The operator of the gradient with respect to argument ``i`` (0: nodes, 1: edges, 2: weights).

        It takes the same arguments, but a cotangent of the result, a row a node, in place of argument ``i``, and gives
        the gradient of that argument: a row a node, or a row an edge. Its own adjoints give derivatives of any order.

        Raises:
            ValueError: there is no such argument.
        """
        arguments = AdjointArguments.of(self, i)
        return arguments.base if arguments.is_base else ConvolutionAdjoint(**arguments._asdict())

    def __call__(
        self,
        node_features: Array,
        edge_attributes: Array,
        weights: Array | None,
        edges: Edges,
        *,
        out: Array | None = None,
        add: bool = False,
        backend: str = "auto",
        num_threads: int | None = None,
    ) -> Array:
        """Sum the products of all edges of a node.

        Args:
            node_features: shape ``(num_senders, irreps_in1.dim)``, float32 or float64: what the nodes send.
            edge_attributes: shape ``(num_edges, irreps_in2.dim)``, or ``(irreps_in2.dim,)`` for all edges.
            weights: shape ``(num_edges, weight_numel)``, or ``(weight_numel,)`` for all edges; ``(num_pairs,
                weight_numel)`` if ``edges`` have pairs; None if there are none.
            edges: who sends to whom.
            out: an array of the result's shape and dtype to write into; must not overlap an input.
            add: add to what ``out`` holds, as for a sum over parts of the edges; the result's rows must be nodes.
            backend: ``auto``, ``generic`` or ``cpu``.
            num_threads: for backends with threads of their own; by default ``TPNUMBA_NUM_THREADS``.

        Returns:
            Shape ``(num_nodes, irreps_out.dim)``; zero for nodes that receive nothing. The kernels of ``cpu`` take no
            memory for an array of edges; the sums of a node are taken in the order of its edges, so that they are the
            same bits for any number of threads.

        Raises:
            TypeError: not arrays of one namespace and device in float32 or float64; ``edges`` of another type.
            ValueError: a shape or a name that does not fit.
            MemoryError: the result would not fit; its size is named.
        """
        named = self._named(node_features, edge_attributes, weights)
        settings = self._checked(named, {}, edges, backend, num_threads)
        shape = self._result_shape(self.form.output, edges)
        if add and (out is None or self._access(self.form.output)[0] is not Access.INDEXED):
            raise ValueError("add needs out, and a result with a row a node")
        if out is not None:
            check_out(out, shape, settings[0], named)
        else:
            require_result(shape, settings[0])
        arrays = self._arrays(named, settings[0])
        return self._evaluate(self.methods, self.argument_operands, arrays, shape[:1], edges, settings, out, add)

    def vjp(
        self,
        node_features: Array,
        edge_attributes: Array,
        cotangent: Array,
        edges: Edges,
        *,
        weights: Array | None = None,
        backend: str = "auto",
        num_threads: int | None = None,
    ) -> tuple[Array, ...]:
        """The gradients of ``<cotangent, conv(node_features, edge_attributes, weights, edges)>``.

        Args:
            cotangent: of the shape of the result.

        Returns:
            The gradients of ``node_features``, ``edge_attributes`` and, if there are any, ``weights``: each of the
            shape of its argument, summed over the edges where one row serves all.

        Raises:
            TypeError, ValueError, MemoryError: as the call.
        """
        named = self._named(node_features, edge_attributes, weights)
        settings = self._checked(named, {"cotangent": cotangent}, edges, backend, num_threads)
        require_shape("cotangent", cotangent, self._result_shape(self.form.output, edges))
        arrays, operands, xp = self._arrays(named, settings[0]), self.argument_operands, settings[0].xp
        gradients = []
        for i, argument in enumerate(named.values()):
            others = *operands[:i], *operands[i + 1 :], self.form.output
            given = [*arrays[:i], *arrays[i + 1 :], cotangent]
            batch = () if _is_shared(self._access(operands[i])[0], argument, edges) else (int(argument.shape[0]),)
            methods = self.methods.adjoint(operands[i])
            found = self._evaluate(methods, others, given, batch, edges, settings)
            gradients.append(xp.reshape(found, tuple(argument.shape)))
        return tuple(gradients)

    def jvp(
        self,
        node_features: Array,
        edge_attributes: Array,
        t_nodes: Array,
        t_edges: Array,
        edges: Edges,
        *,
        weights: Array | None = None,
        t_weights: Array | None = None,
        backend: str = "auto",
        num_threads: int | None = None,
    ) -> Array:
        """The derivative of the result along tangents of the arguments (``t_weights`` None: zero).

        Args:
            t_nodes, t_edges, t_weights: of the shape of ``node_features``, ``edge_attributes`` and ``weights``.

        Returns:
            Of the shape of the result.

        Raises:
            TypeError, ValueError, MemoryError: as the call; also ``t_weights`` without ``weights``.
        """
        named = self._named(node_features, edge_attributes, weights)
        tangents = given_tangents(named, {"t_nodes": t_nodes, "t_edges": t_edges}, t_weights=t_weights)
        settings = self._checked(named, tangents, edges, backend, num_threads)
        require_shapes_of(named, tangents)
        shape = self._result_shape(self.form.output, edges)
        require_result(shape, settings[0])
        arrays, operands = self._arrays(named, settings[0]), self.argument_operands
        parts = (
            self._evaluate(methods, operands, given, shape[:1], edges, settings)
            for methods, given in self._along(operands, arrays, tangents.values())
        )
        return reduce(plus, parts)


class TensorProductConvolution(_Convolution):
    """A product on every edge of a graph, of its sender's features with the edge's attributes, summed at the receiver.

    ``out[n] = sum over edges e that end at n of product(node_features[sender of e], edge_attributes[e], weights[e])``,
    the message passing of NequIP and MACE (Batzner et al., Nat. Commun. 13, 2453, 2022). It is a contraction whose
    first input and output are indexed, so its adjoints gather where it sums, and sum where it gathers.

    Args:
        product: any product of two features.

    Raises:
        TypeError: ``product`` is no operator of two features.
        ValueError: it is not linear in its weights.

    Example:
        >>> import numpy as np
        >>> import tpnumba as tp
        >>> conv = tp.TensorProductConvolution(tp.ChannelwiseTensorProduct("2x0e + 2x1o", "0e + 1o", "0e + 1o"))
        >>> edges = tp.Edges([0, 1, 2], [1, 2, 1], 3)
        >>> nodes, harmonics = np.ones((3, 8)), np.ones((3, 4))
        >>> conv(nodes, harmonics, np.ones((3, conv.weight_numel)), edges).shape == (3, conv.irreps_out.dim)
        True
    """

    def __init__(self, product: Operator) -> None:
        if not isinstance(product, Operator):
            raise TypeError(f"product must be a product of two features, got {type(product).__name__}")
        if len(product.argument_operands) > 3:
            raise ValueError(f"product must be linear in its weights, which {type(product).__name__} is not")
        form = _indexed(product.form, product.argument_operands)
        methods = Methods((("direct", form),))
        self._initialize({"product": product}, form, methods, product.operand_irreps, product.argument_operands)


class ConvolutionAdjoint(FormAdjoint, _Convolution):
    """A convolution whose result is the gradient of another one's argument; made by ``adjoint``."""


def _indexed(form: Contraction, arguments: Sequence[int]) -> Contraction:
    """The form whose first argument has rows of senders, and whose output has rows of receivers.

    Its weights have rows of edges; or of pairs, where the edges of a call have some.
    """
    ends = {arguments[0]: SENDERS, form.output: RECEIVERS, **dict.fromkeys(arguments[2:], PAIRS)}
    operands = list(form.operands)
    for i, end in ends.items():
        access = Access.BATCH if end == PAIRS else Access.INDEXED
        operands[i] = replace(operands[i], access=access, end=end)
    return replace(form, operands=tuple(operands))


def _is_shared(access: Access, array: Array, edges: Edges) -> bool:
    """Whether an argument is one row for all edges."""
    return access is Access.BATCH and (len(array.shape) == 1 or (array.shape[0] == 1 and len(edges) != 1))
