"""What every product promises, whatever it is: each property on every backend, for products that hypothesis draws."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    SPHERE,
    arguments_of,
    dtypes,
    has_weights,
    leading_pairs,
    operands_of,
    products,
    random_arguments,
    require_writable,
    sphere_products,
    tolerance,
)

import tpnumba as tp

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("x1", "x2", "weights")


def call(p, arguments, **options):
    return p(*arguments, **options)


def reference(p, arguments):
    """The product from its sparse coefficients in float64, and the largest sum of absolute terms."""
    shape, coords, values = p.coefficients()
    factors = [np.asarray(x, dtype=np.float64) for x in operands_of(p, arguments)]
    if len(factors) == 3 and shape[2] > factors[2].shape[-1]:  # paths without weights
        factors[2] = np.concatenate([factors[2], np.ones((*factors[2].shape[:-1], 1))], axis=-1)
    terms = values
    for factor, places in zip(factors, coords, strict=False):
        terms = terms * factor[..., places]
    result, size = np.zeros((2, *terms.shape[:-1], shape[-1]))
    np.add.at(result, (..., coords[-1]), terms)
    np.add.at(size, (..., coords[-1]), np.abs(terms))
    return result, float(np.max(size, initial=0.0))


def degree(p):
    return max([*p.irreps_in1.ls, *p.irreps_in2.ls, *p.irreps_out.ls, 0])


@given(p=products(), leading=leading_pairs, dtype=dtypes, seed=SEEDS)
def test_call_is_what_the_coefficients_say(xp, p, leading, dtype, seed):
    arguments = random_arguments(p, *leading, dtype=dtype, seed=seed)
    found = call(p, [xp.asarray(x) for x in arguments])
    expected, size = reference(p, arguments)
    found = xp.to_numpy(found)
    assert found.dtype == dtype
    assert found.shape == (*np.broadcast_shapes(*leading), p.irreps_out.dim)
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance(dtype, degree(p), 1))


@given(p=products(), improper=st.booleans(), dtype=dtypes, seed=SEEDS)
def test_equivariance(xp, p, improper, dtype, seed):
    rng = np.random.default_rng(seed)
    matrix = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    if (np.linalg.det(matrix) < 0) != improper:
        matrix = -matrix
    layouts = [operand.layout for operand in p.form.operands]
    arguments = random_arguments(p, (4,), (4,), seed=seed)
    turned = [
        tp.rotate(irreps, matrix, x, layout=layout)
        for irreps, x, layout in zip((p.irreps_in1, p.irreps_in2), arguments, layouts, strict=False)
    ]
    result = xp.to_numpy(call(p, [xp.asarray(x, dtype) for x in arguments]))
    found = xp.to_numpy(call(p, [xp.asarray(x, dtype) for x in (*turned, *arguments[2:])]))
    expected = tp.rotate(p.irreps_out, matrix, result.astype(np.float64), layout=layouts[-1])
    # Rotations mix the components of a block, so the bound is that of the largest of them.
    size = max(reference(p, arguments)[1], reference(p, [*turned, *arguments[2:]])[1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance(dtype, degree(p), 2 * degree(p) + 1))


@given(p=products(), leading=leading_pairs, seed=SEEDS)
def test_linear_in_every_argument(xp, p, leading, seed):
    first = operands_of(p, random_arguments(p, *leading, seed=seed))
    second = operands_of(p, random_arguments(p, *leading, seed=seed + 1))
    shape, coords, _ = p.coefficients()
    bare = len(shape) == 4 and shape[2] > p.weight_numel and np.any(coords[2] == p.weight_numel)
    for i in range(2 if bare else len(first)):  # with paths that have no weights the product is affine in them
        mixed, other = list(first), list(first)
        mixed[i] = 0.5 * first[i] - 2.0 * second[i]
        other[i] = second[i]
        mixed, one, other = (arguments_of(operands) for operands in (mixed, first, other))
        found = xp.to_numpy(call(p, [xp.asarray(x) for x in mixed]))
        parts = [xp.to_numpy(call(p, [xp.asarray(x) for x in arguments])) for arguments in (one, other)]
        size = reference(p, one)[1] + 4 * reference(p, other)[1]
        atol = size * tolerance("float64", degree(p), 1)
        np.testing.assert_allclose(found, 0.5 * parts[0] - 2.0 * parts[1], rtol=0, atol=atol)


@given(p=products(), dtype=dtypes, seed=SEEDS)
def test_adjoints_are_adjoint(xp, p, dtype, seed):
    arguments = random_arguments(p, (3,), (3,), dtype=dtype, seed=seed)
    cotangent = np.random.default_rng(seed + 1).standard_normal((3, p.irreps_out.dim)).astype(dtype)
    result, size = reference(p, arguments)
    atol = size * tolerance(dtype, degree(p), 1) * max(1.0, float(np.sum(np.abs(cotangent))))
    operands = operands_of(p, arguments)
    for i, argument in enumerate(operands):
        gradient = p.adjoint(i)
        inputs = arguments_of([cotangent if k == i else x for k, x in enumerate(operands)])
        found = xp.to_numpy(call(gradient, [xp.asarray(x) for x in inputs]))
        assert found.shape == argument.shape
        assert found.dtype == dtype
        if i == 2:  # the part of the product that has weights
            without = arguments_of([np.zeros_like(x) if k == 2 else x for k, x in enumerate(operands)])
            constant = reference(p, without)[0]
        else:
            constant = 0.0
        left = np.sum((result - constant) * cotangent.astype(np.float64), axis=-1)
        right = np.sum(found.astype(np.float64) * argument, axis=-1)
        np.testing.assert_allclose(left, right, rtol=0, atol=atol)


@given(p=products(), leading=leading_pairs, dtype=dtypes, seed=SEEDS)
def test_vjp_is_the_adjoint_summed_over_what_was_broadcast(xp, p, leading, dtype, seed):
    arguments = random_arguments(p, *leading, dtype=dtype, seed=seed)
    full = np.broadcast_shapes(*leading)
    cotangent = np.random.default_rng(seed + 1).standard_normal((*full, p.irreps_out.dim)).astype(dtype)
    named = {"weights": xp.asarray(arguments[2])} if len(arguments) == 3 else {}
    gradients = p.vjp(*(xp.asarray(x) for x in arguments[:2]), xp.asarray(cotangent), **named)
    assert [tuple(gradient.shape) for gradient in gradients] == [argument.shape for argument in arguments]
    operands = operands_of(p, arguments)
    for i, (gradient, argument) in enumerate(zip(operands_of(p, gradients), operands, strict=True)):
        inputs = arguments_of([cotangent if k == i else x for k, x in enumerate(operands)])
        each, size = reference(p.adjoint(i), inputs)
        each = np.broadcast_to(each, (*full, argument.shape[-1]))
        padded = (1,) * (len(full) + 1 - argument.ndim) + argument.shape
        axes = tuple(k for k, n in enumerate(padded[:-1]) if n == 1)
        expected = np.sum(each, axis=axes, keepdims=True).reshape(argument.shape)
        found = xp.to_numpy(gradient)
        assert found.dtype == dtype
        assert found.shape == argument.shape
        summed = max(1, int(np.prod(full)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=summed * size * tolerance(dtype, degree(p), 1))


@given(p=products(), leading=leading_pairs, seed=SEEDS, with_weights=st.booleans())
def test_jvp_is_the_product_rule(xp, p, leading, seed, with_weights):
    arguments = random_arguments(p, *leading, seed=seed)
    tangents = random_arguments(p, *leading, seed=seed + 1)
    if not with_weights:
        tangents = tangents[:2]
    named = {"weights": xp.asarray(arguments[2])} if len(arguments) == 3 else {}
    if len(tangents) == 3:
        named["tweights"] = xp.asarray(tangents[2])
    found = xp.to_numpy(p.jvp(*(xp.asarray(x) for x in (*arguments[:2], *tangents[:2])), **named))
    expected, size = 0.0, 0.0
    operands = operands_of(p, arguments)
    for i, tangent in enumerate(operands_of(p, tangents)):
        moved = arguments_of([tangent if k == i else x for k, x in enumerate(operands)])
        still = arguments_of([np.zeros_like(x) if k == i else x for k, x in enumerate(operands)])
        value, bound = reference(p, moved)
        expected, size = expected + value - reference(p, still)[0], size + bound
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance("float64", degree(p), 1))


@given(p=products())
def test_adjoints_of_adjoints_come_back(p):
    weighted_everywhere = all(path.segments[2] is not None for path in p.form.paths) if has_weights(p) else True
    for i in range(len(p.argument_operands)):
        back = p.adjoint(i).adjoint(i)
        if i < 2 or weighted_everywhere:
            assert back == p
            assert back.plan == p.plan
    second = p.adjoint(0).adjoint(1)
    assert second.irreps_out == p.irreps_in2
    assert second.irreps_in1 == p.irreps_out


@given(p=products(), i=st.sampled_from([None, 0, 1]))
def test_products_are_values(p, i):
    operator = p if i is None else p.adjoint(i)
    copy = pickle.loads(pickle.dumps(operator))
    assert copy == operator
    assert hash(copy) == hash(operator)
    assert repr(copy) == repr(operator)
    assert copy.cost() == operator.cost()
    arguments = random_arguments(operator, (2,), (2,))
    np.testing.assert_array_equal(call(copy, arguments), call(operator, arguments))
    assert operator != "1o"
    with pytest.raises(AttributeError, match="frozen"):
        operator.method = "guess"


@given(p=sphere_products(), leading=leading_pairs, dtype=dtypes, seed=SEEDS)
def test_methods_agree(xp, p, leading, dtype, seed):
    inputs = dict(p.__reduce__()[1][1])
    for operator in (lambda q: q, lambda q: q.adjoint(0), lambda q: q.adjoint(1), lambda q: q.adjoint(0).adjoint(1)):
        made = {method: operator(type(p)(**{**inputs, "method": method})) for method in SPHERE[type(p)]}
        sized = random_arguments(made["direct"], *leading, dtype=dtype, seed=seed)
        results = {name: xp.to_numpy(call(q, [xp.asarray(x) for x in sized])) for name, q in made.items()}
        # On a grid every component passes through every point, so the largest component sets the rounding.
        size = reference(made["direct"], sized)[1] + float(np.prod([np.linalg.norm(x) for x in sized]))
        atol = size * tolerance(dtype, degree(p), 2 * degree(p) + 1)
        for method in SPHERE[type(p)][1:]:
            np.testing.assert_allclose(results[method], results["direct"], rtol=0, atol=atol)


@given(p=products(), seed=SEEDS)
def test_nan_stays_in_its_sample(xp, p, seed):
    arguments = random_arguments(p, (5,), (5,), seed=seed)
    clean = xp.to_numpy(call(p, [xp.asarray(x) for x in arguments]))
    for x in arguments[:2]:
        x[1] = np.nan
        x[3] = np.inf
    with np.errstate(invalid="ignore"):
        found = xp.to_numpy(call(p, [xp.asarray(x) for x in arguments]))
    np.testing.assert_array_equal(found[[0, 2, 4]], clean[[0, 2, 4]])
    if p.coefficients().values.size:
        assert np.any(np.isnan(found[1]))


@given(p=products(), dtype=dtypes, seed=SEEDS)
def test_any_memory_order_is_read_and_written(p, dtype, seed):
    arguments = random_arguments(p, (3, 2), (3, 2), dtype=dtype, seed=seed)
    expected = call(p, arguments)
    strange = [
        np.asfortranarray(arguments[0]),
        np.repeat(arguments[1], 2, axis=-1)[..., ::2],
        *(x[::-1].copy()[::-1] for x in arguments[2:]),
    ]
    for x in strange:
        x.flags.writeable = False
    np.testing.assert_array_equal(call(p, strange), expected)
    wide = np.full((3, 4, p.irreps_out.dim + 1), 7.0, dtype=dtype)
    out = wide[:, ::2, 1:]
    assert call(p, strange, out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert np.all(wide[:, 1::2] == 7)
    assert np.all(wide[..., 0] == 7)


@given(p=products(), leading=leading_pairs, dtype=dtypes, seed=SEEDS)
def test_out_is_filled_and_returned(xp, p, leading, dtype, seed):
    require_writable(xp)
    arguments = [xp.asarray(x) for x in random_arguments(p, *leading, dtype=dtype, seed=seed)]
    expected = call(p, arguments)
    out = xp.asarray(np.full(tuple(expected.shape), np.nan, dtype=dtype))
    assert call(p, arguments, out=out) is out
    np.testing.assert_array_equal(xp.to_numpy(out), xp.to_numpy(expected))


@given(p=products(), seed=SEEDS)
def test_mixed_dtypes_promote(xp, p, seed):
    arguments = random_arguments(p, (2,), (2,), seed=seed)
    narrow = [arguments[0].astype(np.float32), *arguments[1:]]
    found = xp.to_numpy(call(p, [xp.asarray(x) for x in narrow]))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, xp.to_numpy(call(p, [xp.asarray(x, "float64") for x in narrow])))


@given(p=products(), seed=SEEDS)
def test_samples_do_not_see_each_other(xp, p, seed):
    """Alone or in a batch, a sample gives the same numbers to rounding."""
    arguments = random_arguments(p, (7,), (7,), seed=seed)
    together = xp.to_numpy(call(p, [xp.asarray(x) for x in arguments]))
    atol = reference(p, arguments)[1] * tolerance("float64", degree(p), 1)
    for i in (0, 6):
        alone = xp.to_numpy(call(p, [xp.asarray(x[i]) for x in arguments]))
        np.testing.assert_allclose(alone, together[i], rtol=0, atol=atol)


@given(p=products())
def test_cost_counts_operands_and_grows_with_the_batch(p):
    one, many = p.cost(), p.cost(10, "float64")
    numbers = p.irreps_in1.dim + p.irreps_in2.dim + p.irreps_out.dim + p.weight_numel
    assert one.bytes == 4 * numbers
    assert many.bytes == 80 * numbers
    assert many.flops == 10 * one.flops
    assert p.cost(0).flops == 0
    assert one.workspace <= 2**26
    nonzeros = p.coefficients().values.size
    assert (one.flops > 0) == (nonzeros > 0)


@given(p=products())
def test_paths_name_blocks_and_irreps(p):
    assert len(p.paths) == len(p.form.paths)
    for path in p.paths:
        assert p.irreps_in1[path.i1].ir == path.ir1
        assert p.irreps_in2[path.i2].ir == path.ir2
        assert p.irreps_out[path.i_out].ir == path.ir_out
        assert path.ir_out in list(path.ir1 * path.ir2)
    shown = repr(p)
    assert p.method in shown
    assert f"{len(p.paths)} paths" in shown
    assert "flops" in shown
