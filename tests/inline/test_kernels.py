"""Kernels inside of compiled loops: every product, against the reference."""

from __future__ import annotations

import pickle

import numba
import numpy as np
import pytest
from backends.cpu_cases import in_process
from inline.inline_cases import PRODUCTS, assert_same, of_samples
from numba.core.runtime import _nrt_python, rtsys
from strategies import has_weights

import tpnumba as tp
from tpnumba.inline import program
from tpnumba.inline.kernel import kernel_of

DTYPES = ("float32", "float64")
NAN = float("nan")


@numba.njit
def over_two(kernel, out, x1, x2):
    for i in range(len(out)):
        kernel(out[i], x1[i], x2[i])


@numba.njit
def over_three(kernel, out, x1, x2, weights):
    for i in range(len(out)):
        kernel(out[i], x1[i], x2[i], weights[i])


def evaluated(p, dtype, arguments, size=None):
    """The results of samples, in memory that was NaN."""
    out = np.full((len(arguments[0]), p.irreps_out.dim if size is None else size), NAN, dtype)
    (over_two if len(arguments) == 2 else over_three)(p.numba_kernel(dtype), out, *arguments)
    return out


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product(name):
    p = PRODUCTS[name]
    for dtype in DTYPES:
        arguments = of_samples(p, 3, dtype)
        assert_same(evaluated(p, dtype, arguments), p, arguments)


@pytest.mark.parametrize("name", ["connected", "modes", "modes, ir_mul", "gaunt 3", "low rank", "channelwise"])
def test_tables_say_what_the_code_says(name, monkeypatch):
    """What large products are evaluated by, for small ones; another digest, as another text is compiled."""
    p = PRODUCTS[name]
    arguments = of_samples(p, 2, "float64")
    straight = evaluated(p, "float64", arguments)
    monkeypatch.setattr(program, "MOST_STRAIGHT", -1)
    made = program.program_of(p.form, p.argument_operands)
    assert not any(nest.is_straight for nest in made.nests)
    monkeypatch.setattr("tpnumba.inline.recipes._sources", lambda: "tables")
    kernel_of.cache_clear()
    found = evaluated(p, "float64", arguments)
    assert p.numba_kernel()._recipe.program == made
    kernel_of.cache_clear()
    assert_same(found, p, arguments)
    assert_same(straight, p, arguments)


@pytest.mark.parametrize("name", ["connected", "modes", "gaunt 1", "low rank"])
def test_adjoints_are_products_too(name):
    base = PRODUCTS[name]
    for i in range(len(base.argument_operands)):
        p = base.adjoint(i)
        arguments = of_samples(p, 2, "float64")
        assert_same(evaluated(p, "float64", arguments), p, arguments)
    p = base.adjoint(0).adjoint(1)
    arguments = of_samples(p, 2, "float64")
    assert_same(evaluated(p, "float64", arguments), p, arguments)


def test_large_products_have_tables():
    straight, tables = PRODUCTS["gaunt 3"].numba_kernel(), PRODUCTS["gaunt 6"].numba_kernel()
    assert "tables" not in repr(straight)
    assert repr(tables).startswith("NumbaKernel(out: 169, x1: 49, x2: 49; float64; ")
    assert repr(tables).endswith("of them in tables)")


def test_any_strides_and_the_same_array_twice():
    p = tp.GauntTensorProduct(2, 2)
    ((x1, x2), dtype) = of_samples(p, 4, "float64"), np.dtype({"names": ["flag", "x"], "formats": ["u1", ("f8", 9)]})
    packed = np.zeros(4, dtype)
    packed["x"] = x1
    wide = np.full((25, 8), NAN)
    over_two(p.numba_kernel(), wide[:, ::2].T, packed["x"][:, ::-1][:, ::-1], np.asfortranarray(x2))
    assert_same(np.ascontiguousarray(wide[:, ::2].T), p, [x1, x2])
    assert np.isnan(wide[:, 1::2]).all()
    out = np.empty((4, 25))
    over_two(p.numba_kernel(), out, x1, x1)
    assert_same(out, p, [x1, x1])


def test_records_and_unaligned_arrays_in_one_function():
    """Numbers that do not follow each other, at multiples of their size and not, in machine code of their own."""
    p = tp.GauntTensorProduct(1, 1)
    kernel = p.numba_kernel()

    @numba.njit
    def run(out, held, packed, x2):
        for i in range(len(held)):
            kernel(out[0, i], held[i], x2[i])
            kernel(out[1, i], packed[i], x2[i])

    x1, x2 = of_samples(p, 3, "float64")
    packed = np.zeros((3, 4), np.dtype({"names": ["flag", "x"], "formats": ["u1", "f8"]}))
    wide = np.zeros((3, 8))
    packed["x"] = wide[:, ::2] = x1
    out = np.full((2, 3, 9), NAN)
    run(out, wide[:, ::2], packed["x"], x2)
    for found in out:
        assert_same(found, p, [x1, x2])
    assert not packed["x"].flags.aligned


def test_unaligned_arrays():
    p = tp.GauntTensorProduct(1, 1)
    x1, x2 = of_samples(p, 1, "float64")
    memory = np.zeros(3 * 9 * 8 + 1, np.uint8)[1:]
    held = memory[: 4 * 8].view(np.float64)
    held[:] = x1[0]
    out = memory[5 * 8 : 14 * 8].view(np.float64)
    p.numba_kernel()(out, held, x2[0])
    assert_same(out[None].copy(), p, [x1, x2])


def test_read_only_inputs_and_a_result_that_cannot_be_written():
    p = tp.GauntTensorProduct(1, 1)
    x1, x2 = of_samples(p, 1, "float64")
    frozen, out = x1[0].copy(), np.empty(9)
    frozen.flags.writeable = False
    p.numba_kernel()(out, frozen, x2[0])
    assert_same(out[None], p, [x1, x2])
    out.flags.writeable = False
    with pytest.raises(TypeError, match="out must be an array that can be written"):
        p.numba_kernel()(out, frozen, x2[0])


@pytest.mark.parametrize("fastmath", [False, True])
@pytest.mark.parametrize("name", ["gaunt 3", "channelwise", "gaunt 6"])
def test_in_parallel_loops_with_and_without_fast_math(name, fastmath):
    p = PRODUCTS[name]
    kernel = p.numba_kernel()

    @numba.njit(parallel=True, fastmath=fastmath)
    def run(out, x1, x2):
        for i in numba.prange(len(out)):
            kernel(out[i], x1[i], x2[i])

    @numba.njit(parallel=True, fastmath=fastmath)
    def weighted(out, x1, x2, weights):
        for i in numba.prange(len(out)):
            kernel(out[i], x1[i], x2[i], weights[i])

    arguments = of_samples(p, 50, "float64")
    out = np.full((50, p.irreps_out.dim), NAN)
    (run if len(arguments) == 2 else weighted)(out, *arguments)
    assert_same(out, p, arguments)


@numba.njit(parallel=True)
def in_parallel(kernel, out, x1, x2):
    for i in numba.prange(len(out)):
        kernel(out[i], x1[i], x2[i])


def test_as_an_argument_of_parallel_loops():
    for p in (tp.GauntTensorProduct(1, 1), tp.BracketTensorProduct(1, 1)):
        arguments = of_samples(p, 20, "float64")
        out = np.full((20, p.irreps_out.dim), NAN)
        in_parallel(p.numba_kernel(), out, *arguments)
        assert_same(out, p, arguments)


def test_several_kernels_in_one_function():
    first, second = tp.GauntTensorProduct(1, 1), tp.GauntTensorProduct(2, 1)
    one, two = first.numba_kernel(), second.numba_kernel()

    @numba.njit
    def cubes(x, out):
        between = np.empty(9)
        one(between, x, x)
        two(out, between, x)
        one(between, x, x)
        return between

    x = np.random.default_rng(0).standard_normal(4)
    out = np.empty(16)
    between = cubes(x, out)
    np.testing.assert_allclose(between, first(x, x), rtol=0, atol=1e-14)
    np.testing.assert_allclose(out, second(first(x, x), x), rtol=0, atol=1e-14)


@numba.njit
def with_copies(kernel, out, x1, x2):
    for i in range(len(out)):
        kernel(out[i], x1[i].copy(), x2[i])


@pytest.mark.parametrize("name", ["gaunt 3", "gaunt 6"])
def test_nothing_is_allocated(name):
    """In Numba's own count, where each argument of a call is one, and so is each copy of another function."""
    p = PRODUCTS[name]
    kernel, arguments = p.numba_kernel(), of_samples(p, 20, "float64")
    out = np.empty((20, p.irreps_out.dim))

    def allocated(function, count):
        before = rtsys.get_allocation_stats().alloc
        function(kernel, out[:count], *(x[:count] for x in arguments))
        return rtsys.get_allocation_stats().alloc - before

    for function in (over_two, with_copies):
        function(kernel, out, *arguments)
    _nrt_python.memsys_enable_stats()
    try:
        few, many, copies = allocated(over_two, 1), allocated(over_two, 20), allocated(with_copies, 20)
    finally:
        _nrt_python.memsys_disable_stats()
    assert few == many == copies - 20


def test_wrong_sizes():
    kernel = PRODUCTS["connected"].numba_kernel()
    right = [np.zeros(size) for size in kernel.sizes]
    kernel(*right)
    for i, name in enumerate(("out", "x1", "x2", "weights")):
        wrong = [np.zeros(len(x) + (i == k)) for k, x in enumerate(right)]
        with pytest.raises(ValueError, match=rf"^{name} must have shape \({len(right[i])},\)"):
            kernel(*wrong)


def test_wrong_types():
    kernel = tp.GauntTensorProduct(1, 1).numba_kernel()
    out, x = np.zeros(9), np.zeros(4)
    for arguments, message in [
        ((out, x), r"the kernel takes 3 arguments \(out, x1, x2\), got 2"),
        ((out, x, x, x), r"the kernel takes 3 arguments \(out, x1, x2\), got 4"),
        ((out,) * 7, r"the kernel takes 3 arguments \(out, x1, x2\), got 7"),
        ((out, x.astype("float32"), x), r"x1 must be a one-dimensional array of float64, got array\(float32, 1d, C\)"),
        ((out[None], x, x), r"out must be a one-dimensional array of float64, got array\(float64, 2d, C\)"),
        ((out, x, 3.0), r"x2 must be a one-dimensional array of float64, got float64"),
    ]:
        with pytest.raises(TypeError, match=message):
            kernel(*arguments)

    @numba.njit
    def wrong(out, x):
        kernel(out, x, 1)

    @numba.njit
    def with_a_keyword(out, x):
        kernel(out, x1=x, x2=x)

    with pytest.raises(numba.TypingError, match=r"x2 must be a one-dimensional array of float64, got"):
        wrong(out, x)
    with pytest.raises(numba.TypingError, match="a kernel takes no keywords, got x1, x2"):
        with_a_keyword(out, x)


@pytest.mark.parametrize("dtype", ["int32", "float16", np.complex128, None, 3])
def test_wrong_dtypes(dtype):
    for operator in (tp.GauntTensorProduct(1, 1), tp.SphericalHarmonics(2)):
        for method in (operator.numba_kernel, operator.cuda_source):
            with pytest.raises(TypeError, match="dtype must be float32 or float64, got"):
                method(dtype)


def test_too_large_a_product(monkeypatch):
    monkeypatch.setattr(program, "MOST_ENTRIES", 700)
    kernel_of.cache_clear()
    for method in (tp.GauntTensorProduct(3, 3).numba_kernel, tp.GauntTensorProduct(3, 3, method="grid").cuda_source):
        with pytest.raises(ValueError, match=r"may have 700 terms, and this product has 708; .* a smaller lmax"):
            method()


def test_a_frozen_value():
    p = tp.GauntTensorProduct(2, 1)
    kernel = p.numba_kernel("float32")
    assert kernel is tp.GauntTensorProduct(2, 1, method="grid").numba_kernel(np.float32)
    assert pickle.loads(pickle.dumps(kernel)) is kernel
    assert len({kernel, p.numba_kernel(), tp.BracketTensorProduct(2, 1).numba_kernel("float32")}) == 3
    assert (kernel.names, kernel.sizes, kernel.dtype) == (("out", "x1", "x2"), (16, 9, 4), "float32")
    with pytest.raises(AttributeError, match="frozen"):
        kernel.dtype = "float64"


def test_weights_of_length_zero_are_no_argument():
    p = PRODUCTS["no weights"]
    assert has_weights(p)
    assert p.numba_kernel().names == ("out", "x1", "x2")


def test_where_numba_compiles_nothing():
    code = """
        import numba, numpy as np, tpnumba as tp
        p = tp.GauntTensorProduct(1, 1)
        kernel = p.numba_kernel()

        @numba.njit
        def run(out, x):
            kernel(out, x, x)
            return out

        x = np.arange(4.0)
        assert not hasattr(run, "py_func")
        print(np.allclose(run(np.empty(9), x), p(x, x, backend="generic")))
        """
    assert in_process(code, NUMBA_DISABLE_JIT="1").stdout.strip() == "True"
