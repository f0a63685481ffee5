"""Prepared calls: the same bits as the usual way, and everything that does not fit goes that way."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from backends.cpu_cases import FULL, VECTOR_FIELDS, WEIGHTED, in_process, views
from backends.test_cpu_guards import GUARD, guarded
from strategies import random_arguments

import tpnumba as tp
from tpnumba.backends import prepared, registry
from tpnumba.backends.cpu import evaluation
from tpnumba.backends.cpu import prepared as cpu_prepared
from tpnumba.backends.cpu.layout import ENTRY_KERNEL, ENTRY_SAMPLES, MOST_PREPARED_BYTES, OUTPUT, SIZE, TABLES
from tpnumba.backends.cpu.lowering import program_of, program_of_few
from tpnumba.backends.cpu.runtime.workspace import workspace
from tpnumba.plans.harmonics import KINDS
from tpnumba.products import base
from tpnumba.sphere import harmonics

SMALL = tp.GauntTensorProduct(1, 1, 1)  # its result has the shape of its arguments
PRODUCTS = {
    "full": FULL,
    "channelwise": WEIGHTED,
    "connected": tp.FullyConnectedTensorProduct("2x0e + 1o", "0e + 1o", "2x0e + 1o"),
    "gaunt": tp.GauntTensorProduct(3, 3),
    "grid": tp.GauntTensorProduct(2, 3, method="grid"),
    "fields": VECTOR_FIELDS,
    "adjoint": tp.GauntTensorProduct(2, 1).adjoint(1),
    "without paths": tp.FullTensorProduct("0e", "1o", "2e"),
    "low rank": tp.LowRankTensorProduct(2, 1, rank=2),
}
LEADING = [
    ((), ()),
    ((1,), (1,)),
    ((3,), (3,)),
    ((40,), ()),
    ((1,), (70,)),
    ((2, 3), (2, 3)),
    ((2, 1), (3,)),
    ((0,),) * 2,
]


def fresh(operator):
    """An equal operator that was never called."""
    return pickle.loads(pickle.dumps(operator))


def called(operator, *arguments, **named):
    """What a call gives or raises."""
    try:
        return operator(*arguments, **named)
    except Exception as error:
        return type(error), str(error)


def assert_same(one, other):
    if isinstance(other, tuple) and other and isinstance(other[0], np.ndarray):
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
        return
    assert type(one) is type(other)
    if isinstance(other, np.ndarray):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other


@contextmanager
def counted():
    """How many plans were evaluated the usual way, as a list of so many things."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (base, harmonics):
            usual = module.evaluate

            def evaluate(*arguments, usual=usual):
                seen.append(arguments[0])
                return usual(*arguments)

            patch.setattr(module, "evaluate", evaluate)
        yield seen


def ready(operator, *arguments, **named):
    """A new operator equal to one, for which such a call is prepared."""
    operator = fresh(operator)
    for _ in range(2):
        operator(*arguments, **named)
    with counted() as usual:
        operator(*arguments, **named)
    assert not usual
    return operator


def random(shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("leading", LEADING, ids=str)
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_and_gradients_have_the_same_bits(name, leading, dtype):
    p = fresh(PRODUCTS[name])
    samples = np.broadcast_shapes(*leading)
    may_be_prepared = name not in ("low rank", "without paths") and 0 not in samples
    for seed in range(4):
        x1, x2, *weights = random_arguments(p, *leading, dtype=dtype, seed=seed)
        weights = [random(p.weight_numel, dtype, seed) for _ in weights]  # for all samples
        named = {"weights": weights[0]} if weights else {}
        cotangent = random((*samples, p.irreps_out.dim), dtype, seed)
        with counted() as usual:
            found = p(x1, x2, *weights), p.vjp(x1, x2, cotangent, **named)
        expected = fresh(p)(x1, x2, *weights), fresh(p).vjp(x1, x2, cotangent, **named)
        assert_same(found[0], expected[0])
        assert_same(found[1], expected[1])
        if may_be_prepared and leading != ((2, 1), (3,)):  # samples that fall on the same place
            assert bool(usual) == (seed < 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("leading", [(), (1,), (3,), (100,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_harmonics_have_the_same_bits(kind, leading, dtype):
    def evaluate(Y, seed):
        xyz, others = random((*leading, 3), dtype, seed), []
        if kind in ("vjp", "jvp"):
            others = [random((*leading, 9 if kind == "vjp" else 3), dtype, seed + 1)]
        return getattr(Y, "__call__" if kind == "values" else kind)(xyz, *others)

    Y = tp.SphericalHarmonics(2)
    for seed in range(4):
        with counted() as usual:
            found = evaluate(Y, seed)
        assert_same(found, evaluate(fresh(Y), seed))
        assert bool(usual) == (seed < 2 or 0 in leading)


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_large_batches_and_sums_over_them(num_threads):
    for p in (FULL, WEIGHTED):
        x1, x2, *weights = random_arguments(p, (6000,), (6000,))
        weights = [w[0] for w in weights]
        named = {"num_threads": num_threads}
        expected = fresh(p)(x1, x2, *weights, **named)
        assert_same(ready(p, x1, x2, *weights, **named)(x1, x2, *weights, **named), expected)
        if weights:
            named["weights"] = weights[0]
        q, gradients = fresh(p), fresh(p).vjp(x1, x2[0], expected, **named)
        for _ in range(4):
            with counted() as usual:
                found = q.vjp(x1, x2[0], expected, **named)
            assert_same(found, gradients)
        assert not usual


def test_arguments_that_were_one_array_need_not_be_one():
    x, y = random((3, 4)), random((3, 4), seed=1)
    p = ready(SMALL, x, x)
    q = fresh(SMALL)
    for _ in range(3):
        q.vjp(x, x, x)
    with counted() as usual:
        found, gradients = p(x, y), q.vjp(x, y, x)
    assert not usual
    assert_same(found, fresh(SMALL)(x, y))
    assert_same(gradients, fresh(SMALL).vjp(x, y, x))


class Metres(np.ndarray):
    """An array with a unit."""


X = random((3, 4))
OTHERS = {
    **views(X),
    "other dtype": X.astype(np.float32),
    "half": X.astype(np.float16),
    "byte order": X.astype(X.dtype.newbyteorder("S")),
    "integers of that size": X.astype(np.int64),
    "complex": X.astype(complex),
    "fewer": X[:2],
    "more": np.concatenate([X, X]),
    "another axis": X[None],
    "one": X[0],
    "no axis": X[0, 0],
    "no array of it": np.array(1.0),
    "too long": random((3, 5)),
    "read-only": np.broadcast_to(X[:1], X.shape),
    "units": X.view(Metres),
    "masked": np.ma.array(X),
    "list": X.tolist(),
    "tuple": tuple(X),
    "text": "x",
    "number": 3,
    "type": np.ndarray,
}


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", OTHERS)
def test_other_arrays_go_the_usual_way(name, place):
    p = ready(SMALL, X, X)
    arguments = [X, X]
    arguments[place] = OTHERS[name]
    with counted() as usual:
        found = called(p, *arguments)
    expected = called(fresh(SMALL), *arguments)
    assert_same(found, expected)
    assert isinstance(expected, tuple) or usual
    assert_same(p(X, X), fresh(SMALL)(X, X))


def test_arrays_that_change_in_place():
    x, y = X.copy(), X.copy()
    p = ready(SMALL, x, y)
    x.shape = 2, 6
    assert called(p, x, y)[0] is ValueError
    x.shape = 1, 3, 4
    assert p(x, y).shape == (1, 3, 4)
    x.shape = 3, 4
    x.resize((2, 4), refcheck=False)
    assert_same(p(x, y[:2]), fresh(SMALL)(x, y[:2]))
    y.setflags(write=False)
    assert_same(p(X, y), fresh(SMALL)(X, y))
    y.setflags(write=True)
    y[1] = 7.0
    assert_same(p(X, y), fresh(SMALL)(X, y))


def test_arrays_that_are_freed_and_allocated_again():
    x = X.copy()
    p = ready(SMALL, x, x)
    del x
    for seed in range(200):
        x = random((3, 4), ("float64", "float32")[seed % 7 == 0], seed)
        x = x if seed % 5 else x[::-1]
        assert_same(p(x, x), fresh(SMALL)(x, x))
        del x


def test_arrays_are_not_kept():
    class Held(np.ndarray):
        pass

    x = np.ones((3, 4)).view(Held)
    gone = weakref.ref(x)
    plain = x.view(np.ndarray)
    ready(SMALL, plain, plain)(plain, plain)
    p = ready(SMALL, plain, plain)
    del x, plain
    gc.collect()
    assert gone() is None
    p(X, X)


@pytest.mark.parametrize("vary", ["read-only", "overlap", "next to it", "dtype", "shape", "strides", "units", "itself"])
def test_out(vary):
    memory = np.zeros((9, 4))
    memory[:3] = X
    x, out = memory[:3], memory[3:6]
    p = ready(SMALL, x, X, out=out)
    assert_same(p(x, X, out=out), fresh(SMALL)(x, X))
    assert p(x, X, out=out) is out
    readonly = np.zeros((3, 4))
    readonly.setflags(write=False)
    repeated = np.lib.stride_tricks.as_strided(np.zeros(12), (3, 4), (0, 8))
    other = {
        "read-only": readonly,
        "overlap": memory[2:5],
        "next to it": memory[6:],
        "dtype": np.zeros((3, 4), np.float32),
        "shape": memory[3:7],
        "strides": np.zeros((3, 8))[:, ::2],
        "units": np.zeros((3, 4)).view(Metres),
        "itself": repeated,
    }[vary]
    found = called(p, x, X, out=other)
    expected = called(fresh(SMALL), x, X, out=other)
    assert_same(found, expected)
    assert isinstance(found, tuple) == (vary not in ("next to it", "strides"))
    if not isinstance(found, tuple):
        assert found is other
    np.testing.assert_array_equal(memory[:3], X)
    assert p(x, X) is not out  # out is no longer asked for


def test_an_out_that_is_an_argument():
    x, out = X.copy(), np.zeros((3, 4))
    p = ready(SMALL, x, X, out=out)
    assert called(p, x, X, out=x) == called(fresh(SMALL), x, X, out=x)
    assert called(p, x, X, out=x)[0] is ValueError


def test_the_environment_and_the_number_of_threads(monkeypatch):
    x = random((6000, 16))
    asked = []

    share_native = evaluation.share_native

    def share(job, num_threads):
        asked.append(num_threads)
        share_native(job, 1)

    monkeypatch.setattr(evaluation, "share_native", share)
    monkeypatch.delenv("TPNUMBA_NUM_THREADS", raising=False)
    p = ready(FULL, x, x)
    for text in ("2", "3", "2", "5"):
        monkeypatch.setenv("TPNUMBA_NUM_THREADS", text)
        for _ in range(3):
            p(x, x)
            assert asked[-1] == int(text)
            p(x, x, num_threads=4)
            assert asked[-1] == 4
    for text in ("0", "many", ""):
        monkeypatch.setenv("TPNUMBA_NUM_THREADS", text)
        with pytest.raises(ValueError, match="TPNUMBA_NUM_THREADS must be a positive integer"):
            p(x, x)
    monkeypatch.setattr("os.environ", {"TPNUMBA_NUM_THREADS": "no"})
    with pytest.raises(ValueError, match="TPNUMBA_NUM_THREADS must be a positive integer"):
        p(x, x)


def test_numbers_of_threads_that_equal_one_and_are_none():
    p = ready(SMALL, X, X, num_threads=1)
    for wrong in (True, 1.0, 0, -1, "1"):
        assert called(p, X, X, num_threads=wrong) == called(fresh(SMALL), X, X, num_threads=wrong)
    assert_same(p(X, X, num_threads=np.int64(1)), p(X, X))


def test_the_backend(monkeypatch):
    p = ready(SMALL, X, X)
    for name in ("nothing", "gpu", None, 3):
        found = called(p, X, X, backend=name)
        assert found == called(fresh(SMALL), X, X, backend=name)
        assert found[0] in (ValueError, RuntimeError, ImportError, TypeError)
    seen = []
    choose = registry.choose

    def chosen(call):
        seen.append(choose(call)[0])
        return choose(call)

    monkeypatch.setattr("tpnumba.backends.choose", chosen)
    for _ in range(3):
        p(X, X, backend="generic")
    assert seen == ["generic"] * 3
    monkeypatch.setattr(registry, "AUTOMATIC", ("generic",))
    p(X, X)
    assert seen == ["generic"] * 4


def test_many_threads_at_once():
    shapes = [(1,), (3,), (40,), (500,), (2, 3)]
    p, q, Y = fresh(FULL), fresh(WEIGHTED), tp.SphericalHarmonics(3)
    cases = []
    for i in range(20):
        leading = shapes[i % len(shapes)]
        dtype = ("float32", "float64")[i % 2]
        x1, x2, w = random_arguments(q, leading, leading, dtype=dtype, seed=i)
        expected = fresh(p)(x2, x2), fresh(q).vjp(x1, x2, fresh(q)(x1, x2, w), weights=w), fresh(Y)(x2[..., :3])
        cases.append((x1, x2, w, fresh(q)(x1, x2, w), expected))

    def work(i: int) -> bool:
        x1, x2, w, cotangent, expected = cases[i * 7 % len(cases)]
        found = p(x2, x2), q.vjp(x1, x2, cotangent, weights=w), Y(x2[..., :3])
        assert_same(found[0], expected[0])
        assert_same(found[1], expected[1])
        assert_same(found[2], expected[2])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(1500))) == 1500


def test_after_a_fork():
    done = in_process(
        """
        import os
        import numpy as np, tpnumba as tp

        p, x = tp.FullTensorProduct("0e + 1o", "0e + 1o"), np.random.default_rng(0).standard_normal((4, 4))
        expected = [p(x, x) for _ in range(4)][-1]
        child = os.fork()
        y = np.random.default_rng(0).standard_normal((4, 4))
        assert all(np.array_equal(p(y, y), expected) for _ in range(4))
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("same")
        """
    )
    assert done.stdout == "same\n", done.stderr


def test_copies_have_none():
    p, Y = ready(SMALL, X, X), tp.SphericalHarmonics(2)
    for _ in range(3):
        Y(X[:, :3])
    assert len(pickle.dumps(p)) == len(pickle.dumps(fresh(SMALL)))
    for made in (pickle.loads(pickle.dumps(p)), copy.copy(p), copy.deepcopy(p)):
        with counted() as usual:
            assert_same(made(X, X), p(X, X))
        assert len(usual) == 1
        assert made == p
    with counted() as usual:
        copy.deepcopy(Y)(X[:, :3])
    assert len(usual) == 1


def test_a_nan_stays_in_its_sample():
    p = ready(tp.GauntTensorProduct(3, 3), *[random((40, 16))] * 2)
    x = random((40, 16))
    clean = p(x, x)
    x[7, 3], x[30, 0] = np.nan, np.inf
    found = p(x, x)
    others = np.setdiff1d(np.arange(40), [7, 30])
    assert_same(found[others], clean[others])
    assert np.isnan(found[7]).any()
    assert not np.isfinite(found[30]).all()


def test_few_are_kept_and_none_of_shapes_that_never_come_again(monkeypatch):
    made = []
    prepare = prepared._prepare
    monkeypatch.setattr(prepared, "_prepare", lambda *arguments: made.append(1) or prepare(*arguments))
    p = fresh(SMALL)
    for n in range(1, 40):
        p(random((n, 4)), random((n, 4)))
    assert not made
    for _ in range(3):
        for n in range(1, 40):
            p(random((n, 4)), random((n, 4)))
    assert not made
    for _ in range(3):
        for n in range(1, 1 + prepared._MOST):
            p(random((n, 4)), random((n, 4)))
    assert len(made) == prepared._MOST
    with counted() as usual:
        for n in range(1, 1 + prepared._MOST):
            p(random((n, 4)), random((n, 4)))
    assert not usual
    for _ in range(2):
        p(random((50, 4)), random((50, 4)))
    assert len(p._calls._calls) == prepared._MOST


def test_what_cannot_be_prepared_is_tried_once(monkeypatch):
    made = []
    prepare = prepared._prepare
    monkeypatch.setattr(prepared, "_prepare", lambda *arguments: made.append(1) or prepare(*arguments))
    p = fresh(PRODUCTS["low rank"])
    arguments = random_arguments(p, (3,), (3,))
    for _ in range(10):
        p(*arguments)
    large = np.zeros((MOST_PREPARED_BYTES // 32 + 1, 4), dtype=np.float64)
    q = fresh(SMALL)
    for _ in range(5):
        q(large, large)
    assert len(made) == 2


def test_where_objects_are_not_as_known_nothing_is_prepared(monkeypatch):
    monkeypatch.setattr(cpu_prepared, "_object_layout", lambda: None)
    p = fresh(SMALL)
    with counted() as usual:
        for _ in range(4):
            assert_same(p(X, X), SMALL(X, X))
    assert len(usual) >= 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 5, 16, 100])
def test_nothing_beside_workspace_and_results_is_written(count, dtype, monkeypatch):
    rooms = []

    def workspace_room(size):
        memory, room = guarded(-(-size // 8), "float64", align=0)
        rooms.append((memory, room))
        return room.nbytes, room.ctypes.data, room

    monkeypatch.setattr(cpu_prepared, "workspace_room", workspace_room)
    for p in (FULL, VECTOR_FIELDS, tp.GauntTensorProduct(1, 1)):
        x1, x2 = random_arguments(p, (count,), (count,), dtype=dtype)
        memory, out = guarded(count * p.irreps_out.dim, dtype, align=np.dtype(dtype).itemsize)
        out = out.reshape(count, -1)
        expected = fresh(p)(x1, x2)
        ready(p, x1, x2, out=out)
        assert_same(out, expected)
        assert np.count_nonzero(memory == GUARD) == memory.size - out.size
        for held, room in rooms:
            first = (room.ctypes.data - held.ctypes.data) // 8
            np.testing.assert_array_equal(held[:first], GUARD)
            np.testing.assert_array_equal(held[first + room.size :], GUARD)
    assert rooms or count == 100


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*(name for name in PRODUCTS if name not in ("low rank", "without paths")), *KINDS])
def test_a_program_of_few_samples_gives_the_same_bits(name, dtype):
    """One that has columns of one vector, against one of several."""
    if name in KINDS:
        plans = [harmonics._plan(3, "integral", True, name)]
    else:
        p = PRODUCTS[name]
        plans = [p.methods.adjoint(i).choose("cpu", dtype)[1] for i in range(len(p.form.operands))]
    for plan in plans:
        wide, narrow = program_of(plan, dtype), program_of_few(plan, dtype)
        assert narrow is program_of_few(plan, dtype)
        assert narrow.vectors == 1 < wide.vectors
        sizes = narrow.arrays[:, SIZE].tolist()
        arrays = {i: random((3, size), dtype, i) for i, size in enumerate(sizes) if size and i not in narrow.outputs}
        found = []
        for program in (wide, narrow):
            results = [np.full((3, sizes[i]), np.nan, dtype) for i in program.outputs]
            table = evaluation.find_arrays(program, arrays, results, (3,), 3)
            table[list(program.outputs), OUTPUT] = 1
            program.call(workspace(program.tile_size, program.dtype), table, 0, 3)
            found.append(tuple(results))
        assert_same(*found)


def test_a_large_plan_has_no_program_of_few_samples():
    plan = tp.FullTensorProduct(*[tp.Irreps.spherical_harmonics(6)] * 2).plan
    assert program_of_few(plan, "float64") is program_of(plan, "float64")


def test_a_kernel_that_is_put_in_the_place_of_another_is_called():
    x = random((40, 4))
    p = ready(SMALL, x, x)
    expected = p(x, x)
    program = program_of(p.methods.choose("cpu", "float64")[1], "float64")
    before = int(program.entry[ENTRY_SAMPLES])
    p(x, x)
    assert program.entry[ENTRY_SAMPLES] == before + 40
    other = program_of(tp.GauntTensorProduct(1, 1, 1, method="grid").plan, "float64")
    kernel = int(program.entry[ENTRY_KERNEL])
    assert kernel != other.entry[ENTRY_KERNEL]
    from tpnumba.backends.cpu.runtime.native import native_function

    def nothing(tile, arrays, start, stop):
        pass

    program.entry[ENTRY_KERNEL], kept = native_function(nothing, "nothing_float64", "float64")
    try:
        out = np.full((40, 4), 3.0)
        q = fresh(SMALL)
        for _ in range(4):
            q(x, x, out=out)
        np.testing.assert_array_equal(out, 3.0)
        assert kept
    finally:
        program.entry[ENTRY_KERNEL] = kernel
    assert_same(p(x, x), expected)


def test_a_prepared_call_takes_few_python_functions():
    p, Y, x = ready(SMALL, X, X), tp.SphericalHarmonics(2), X[:, :3].copy()
    for _ in range(3):
        Y(x)
    for evaluate in (lambda: p(X, X), lambda: Y(x)):
        seen = []

        def profile(frame, event, _, seen=seen):
            if event == "call":
                seen.append(frame.f_code.co_qualname)

        sys.setprofile(profile)
        evaluate()
        sys.setprofile(None)
        assert len(seen) <= 9, seen


def test_threads_that_come_at_once_have_one_entry_and_one_list_of_tables():
    for n in range(2, 12):
        program = program_of(tp.FullTensorProduct(f"{n}x0e", "1o").plan, "float64")
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _, one=program: (one.entry, one.new_table()[0, TABLES]), range(8)))
        assert len({id(entry) for entry, _ in found}) == 1
        assert {int(address) for _, address in found} == {int(program.new_table()[0, TABLES])}


def test_weights_of_length_zero_that_are_left_out():
    p, x, g = tp.FullyConnectedTensorProduct("0x1o", "1o", "0e"), np.ones((4, 0)), np.ones((4, 1))
    q, y = tp.FullyConnectedTensorProduct("1o", "1o", "3x1o"), random((4, 3))
    for _ in range(4):
        for weights in (None, np.ones(0)):
            np.testing.assert_array_equal(p(x, y, weights), np.zeros((4, 1)))
            assert [one.shape for one in p.vjp(x, y, g)] == [(4, 0), (4, 3)]
            assert [one.shape for one in p.vjp(x, y, g, weights=np.ones(0))] == [(4, 0), (4, 3), (0,)]
            assert q(y, y, weights).shape == (4, q.irreps_out.dim)


def test_an_out_between_the_numbers_of_an_argument_is_prepared_once(monkeypatch):
    made = []
    prepare = prepared._prepare
    monkeypatch.setattr(prepared, "_prepare", lambda *arguments: made.append(1) or prepare(*arguments))
    memory = random((3, 8))
    x, out = memory[:, ::2], memory[:, 1::2]
    p, expected = fresh(SMALL), SMALL(x.copy(), X)
    with counted() as usual:
        for _ in range(8):
            assert_same(p(x, X, out=out).copy(), expected)
    assert (len(usual), len(made)) == (8, 1)
