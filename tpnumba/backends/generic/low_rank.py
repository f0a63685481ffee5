"""Products between weights of degrees on any namespace.

Transforms are evaluated one after the other, and path weights summed up term by term, so that memory does not grow with
the rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tpnumba.backends.generic import contraction, transform
from tpnumba.backends.namespaces import Context, constant
from tpnumba.plans.access import Access
from tpnumba.plans.low_rank import FEATURES, WEIGHTS, LowRankContraction, LowRankTransform, Part, PathWeights, Terms

Array = Any


def evaluate(plan: LowRankTransform, context: Context, inputs: dict[int, Array]) -> Iterator[tuple[slice, Array]]:
    """Yield the result as ``(where, value)``; see the evaluation of a Contraction."""
    xp = context.xp
    rows = {i: array if array.ndim == 2 else array[None, :] for i, array in inputs.items()}
    of_part = _weights_of_part if plan.output in WEIGHTS else _feature_of_part
    values = [of_part(plan, number, context, rows) for number in range(len(plan.parts))]
    k = plan.feature
    if plan.output in WEIGHTS or k == 2:  # the parts have a block each
        total = xp.concat(values, axis=-1) if len(values) > 1 else values[0]
    else:
        total = sum(values[1:], start=values[0])
    if plan.operands[plan.output].access == Access.SHARED:
        total = xp.sum(total, axis=0)
    yield slice(0, plan.sizes[plan.output]), total


def _feature_of_part(plan: LowRankTransform, number: int, context: Context, rows: dict[int, Array]) -> Array:
    part, k = plan.parts[number], plan.feature
    total = None
    for r in range(part.rank):
        value = _transformed(plan, number, r, context, rows) * _factors(part, k, r, context, rows)
        total = value if total is None else total + value
    return total


def _weights_of_part(plan: LowRankTransform, number: int, context: Context, rows: dict[int, Array]) -> Array:
    xp, part, k = context.xp, plan.parts[number], plan.feature
    own = rows[FEATURES[k]][:, part.block(k)]
    sums = constant(context, np.equal.outer(part.degree_places(k), np.arange(len(part.dims[k]))).astype(np.float64))
    columns = [(_transformed(plan, number, r, context, rows) * own) @ sums for r in range(part.rank)]
    stacked = xp.stack(columns, axis=-1)
    return xp.reshape(stacked, (stacked.shape[0], len(part.dims[k]) * part.rank))


def _transformed(plan: LowRankTransform, number: int, r: int, context: Context, rows: dict[int, Array]) -> Array:
    """The transform of the two other features, each times its weights."""
    part, form = plan.parts[number], plan.transforms[number]
    form = form.with_access((Access.BATCH,) * 3)
    given = {
        k: rows[FEATURES[k]][:, part.block(k)] * _factors(part, k, r, context, rows)
        for k in range(3)
        if k != plan.feature
    }
    ((_, value),) = transform.evaluate(form, context, given)
    return value


def _factors(part: Part, k: int, r: int, context: Context, rows: dict[int, Array]) -> Array:
    """The weights of feature ``k`` for the transform ``r``, one a component."""
    own = rows[WEIGHTS[k]][:, part.weights(k)]
    shaped = context.xp.reshape(own, (own.shape[0], len(part.dims[k]), part.rank))
    return context.xp.take(shaped[:, :, r], constant(context, part.degree_places(k)), axis=1)


def evaluate_contraction(
    plan: LowRankContraction, context: Context, inputs: dict[int, Array]
) -> Iterator[tuple[slice, Array]]:
    """Yield the result as ``(where, value)``; see the evaluation of a Contraction."""
    xp = context.xp
    given = {place: inputs[i] for place, i in ((0, 0), (1, 1), (3, 5)) if i != plan.output}
    access = [plan.operands[i].access for i in (0, 1, plan.output, 5)]
    of_weights = {k: inputs[i] for k, i in enumerate(WEIGHTS) if i != plan.output}
    if plan.output in FEATURES:
        given[2] = _path_weights(plan.summed, context, of_weights)
        access[2] = Access.SHARED if given[2].ndim == 1 else Access.BATCH
        yield from contraction.evaluate(plan.inner.with_access(tuple(access)), context, given)
        return
    access[2] = Access.BATCH
    found = contraction.evaluate(plan.inner.with_access(tuple(access)), context, given)
    parts = [value for _, value in sorted(((where.start, value) for where, value in found), key=lambda part: part[0])]
    of_weights[3] = xp.concat(parts, axis=-1) if len(parts) > 1 else parts[0]
    total = _gradient_of_factor(plan.summed, context, of_weights)
    yield slice(0, plan.sizes[plan.output]), xp.sum(total, axis=0) if plan.sums_samples else total


def evaluate_path_weights(
    plan: PathWeights, context: Context, inputs: dict[int, Array]
) -> Iterator[tuple[slice, Array]]:
    """Yield the result as ``(where, value)``; see the evaluation of a Contraction."""
    evaluate_plan = _path_weights if plan.output == 3 else _gradient_of_factor
    total = evaluate_plan(plan, context, inputs)
    if plan.sums_samples and total.ndim > 1:
        total = context.xp.sum(total, axis=0)
    elif not plan.sums_samples and total.ndim == 1:
        total = total[None, :]
    yield slice(0, plan.sizes[plan.output]), total


def _path_weights(plan: PathWeights, context: Context, inputs: Mapping[int, Array]) -> Array:
    """The numbers of all paths, of the leading axes that those of their factors broadcast to.

    Of all triples at once, as matrix products, of which the paths are then taken.
    """
    xp, parts = context.xp, []
    for terms in plan.terms:
        pairs = _pairs(context, terms, inputs)
        table = xp.matmul(pairs, xp.matrix_transpose(_factor(context, terms, 2, inputs)))
        flat = xp.reshape(table, (*table.shape[:-2], terms.size))
        parts.append(xp.take(flat, constant(context, terms.places), axis=-1))
    return xp.concat(parts, axis=-1) if len(parts) > 1 else parts[0]


def _gradient_of_factor(plan: PathWeights, context: Context, inputs: Mapping[int, Array]) -> Array:
    """From the gradient by the numbers of the paths to that by the factor that is the output."""
    xp, device, _ = context
    parts = []
    for terms in plan.terms:
        n1, n2, n_out = terms.degrees
        own = inputs[3][..., terms.paths[0] : terms.paths[1]]
        leading = own.shape[:-1]
        padded = xp.concat([own, xp.zeros((*leading, 1), dtype=own.dtype, device=device)], axis=-1)
        table = xp.reshape(xp.take(padded, constant(context, terms.scatter), axis=-1), (*leading, n1 * n2, n_out))
        if plan.output == 2:
            total = xp.matmul(xp.matrix_transpose(table), _pairs(context, terms, inputs))
        else:
            met = xp.matmul(table, _factor(context, terms, 2, inputs))
            met = xp.reshape(met, (*met.shape[:-2], n1, n2, terms.rank))
            other = _factor(context, terms, 1 - plan.output, inputs)
            spread = other[..., None, :, :] if plan.output == 0 else other[..., :, None, :]
            total = xp.sum(met * spread, axis=-2 if plan.output == 0 else -3)
        parts.append(xp.reshape(total, (*total.shape[:-2], terms.degrees[plan.output] * terms.rank)))
    return xp.concat(parts, axis=-1) if len(parts) > 1 else parts[0]


def _factor(context: Context, terms: Terms, k: int, inputs: Mapping[int, Array]) -> Array:
    """The weights of feature ``k``, an array (degrees, rank) behind the leading axes."""
    part = inputs[k][..., terms.weights(k)]
    return context.xp.reshape(part, (*part.shape[:-1], terms.degrees[k], terms.rank))


def _pairs(context: Context, terms: Terms, inputs: Mapping[int, Array]) -> Array:
    """The products of the weights of both inputs, an array (pairs of degrees, rank) behind the leading axes."""
    products = _factor(context, terms, 0, inputs)[..., :, None, :] * _factor(context, terms, 1, inputs)[..., None, :, :]
    n1, n2, _ = terms.degrees
    return context.xp.reshape(products, (*products.shape[:-3], n1 * n2, terms.rank))
