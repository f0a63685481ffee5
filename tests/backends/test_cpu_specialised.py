"""Code made for one plan: the bits of the kernel that reads tables, and nothing beside results and workspace."""

from __future__ import annotations

import ctypes
import platform

import numpy as np
import pytest
from backends.guards import guarded, intact

import tpnumba as tp
from tpnumba.backends.cpu.evaluation import find_arrays
from tpnumba.backends.cpu.layout import LINE, OUTPUT, SIZE, STREAM
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.backends.cpu.runtime.workspace import address_of
from tpnumba.backends.cpu.specialised import machine
from tpnumba.backends.cpu.specialised.source import write_source
from tpnumba.plans.base import Plan
from tpnumba.studies.registry import cases

#: Whether results go past the caches, and the numbers from the beginning of a line to them.
WAYS = ((False, 1), (True, 0), (True, 1))
NAME, FEATURES = machine.processor()
#: The features of a processor without vectors of 64 bytes.
AVX2 = ",".join(f"-{each[1:]}" if each.startswith("+avx512") else each for each in FEATURES.split(","))

FORMS = {
    **{
        f"{case.contender.product}-{case.configuration.name}-{case.lmax}": case.build().form
        for case in cases(2)
        if case.contender.method == "direct" and case.configuration.name != "SIMO" and case.lmax == 2
    },
    "one number": tp.FullTensorProduct("0e", "0e").form,
    "two numbers": tp.FullTensorProduct("2x0e", "0e", "0e").form,
    "vectors": tp.FullTensorProduct("1o", "1o").form,
    "channels": tp.ElementwiseTensorProduct("3x0e + 3x1o", "3x1o + 3x2e").form,
    "weights": tp.ChannelwiseTensorProduct("3x0e + 3x1o", "0e + 1o").form,
    "one weight a path": tp.FullyConnectedTensorProduct("0e + 1o", "1o + 2e", "1o + 2e").form,
    "layout": tp.FullTensorProduct("2x1o", "0e + 1o").form,
    "Gaunt-4": tp.GauntTensorProduct(4, 3, method="direct").form,
}
ADJOINTS = {
    f"{name}-{i}": form.adjoint(i) for name, form in FORMS.items() if form.paths for i in range(len(form.operands))
}
#: Weights of fully connected products are matrices between channels, which has no code.
PLANS = {name: plan for name, plan in ADJOINTS.items() if not name.startswith("one weight a path")}


def made_for(plan: Plan, dtype: str, features: str = FEATURES):
    """The kernel, ``(tile, arrays, start, stop)``."""
    program = program_of(plan, dtype)
    source = write_source(program, machine.most_sums(features))
    loaded = machine.Loaded(machine.compile_source(source, NAME, features), program.native()[0])
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(loaded.address)

    def kernel(tile, arrays, start, stop, _=loaded):
        call(address_of(tile), address_of(arrays), start, stop)

    return kernel


def test_what_has_no_code():
    assert not program_of(ADJOINTS["one weight a path-3"], "float32").has_code
    many = tp.ChannelwiseTensorProduct("64x0e", "0e + 1o").form
    assert not program_of(many.adjoint(0), "float32").has_code
    assert not program_of(tp.GauntTensorProduct(6, 6, method="direct").form, "float32").has_code


def rows(count: int, size: int, dtype: str, kind: str, seed: int) -> np.ndarray:
    """Numbers as rows: one after the other, apart, backwards, with numbers apart, or one row for all."""
    made = np.random.default_rng(seed).normal(size=(count, 2 * size)).astype(dtype)
    if kind == "apart":
        return made[:, :size]
    if kind == "backwards":
        return made[:, :size].copy()[::-1]
    if kind == "numbers apart":
        return made[:, ::2]
    return made[0, :size].copy() if kind == "shared" else made[:, :size].copy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PLANS)
def test_the_bits_of_tables(name, dtype):
    plan = PLANS[name]
    program = program_of(plan, dtype)
    assert program.has_code
    compare_with_tables(plan, program, made_for(plan, dtype))


@pytest.mark.skipif("+avx512f" not in FEATURES, reason="needs a processor with AVX-512, to do without it")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in PLANS if name.startswith(("Gaunt-MIMO", "weights", "vectors"))])
def test_the_bits_of_tables_without_vectors_of_64_bytes(name, dtype):
    compare_with_tables(PLANS[name], program_of(PLANS[name], dtype), made_for(PLANS[name], dtype, AVX2))


def compare_with_tables(plan, program, kernel):
    """Results of both kernels, for whole tiles and parts of one, and for rows of every kind."""
    dtype = program.dtype.name
    (output,) = program.outputs
    sizes = {i: int(program.arrays[i, SIZE]) for i in plan.inputs}
    width = LINE // np.dtype(dtype).itemsize
    for count, kind in (
        *((n, "after each other") for n in (1, width - 1, 5 * width + 3)),
        *((2 * width + 3, kind) for kind in ("apart", "backwards", "numbers apart", "shared")),
    ):
        # One operand in its own way, the others one after the other, so that whole rows and others meet.
        for special in sizes:
            arrays = {
                i: rows(count, size, dtype, kind if i == special else "after each other", i)
                for i, size in sizes.items()
            }
            shared = [special] if kind == "shared" else []
            found = []
            # Results at the beginning of a line and elsewhere, past the caches and not.
            for call, stream, align in ((program.call, False, 0), *((kernel, *how) for how in WAYS)):
                memory, part = guarded(count * int(program.arrays[output, SIZE]), dtype, align * part_of(dtype))
                result = part.reshape(count, -1)
                workspace, tile = guarded(program.tile_size, dtype, align=0)
                table = find_arrays(program, arrays, [result], (count,), count, shared)
                table[output, OUTPUT], table[output, STREAM] = 1, stream
                call(tile, table, 0, count)
                assert intact(memory, part)
                assert intact(workspace, tile)
                found.append(result)
            assert not np.isnan(found[0]).any()
            for one in found[1:]:
                np.testing.assert_array_equal(one.view(np.uint8), found[0].view(np.uint8))


def part_of(dtype: str) -> int:
    """The bytes of one number."""
    return np.dtype(dtype).itemsize


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_with_numbers_apart(dtype):
    plan = PLANS["vectors-2"]
    program = program_of(plan, dtype)
    arrays = {i: rows(37, 3, dtype, "after each other", i) for i in (0, 1)}
    found = []
    for call in (program.call, made_for(plan, dtype)):
        result = np.zeros((37, 18), dtype=dtype)[:, ::2]
        table = find_arrays(program, arrays, [result], (37,), 37)
        table[2, OUTPUT] = 1
        call(guarded(program.tile_size, dtype, align=0)[1], table, 0, 37)
        found.append(result)
    np.testing.assert_array_equal(*found)
    assert np.abs(found[0]).min() > 0


def test_a_sample_that_is_not_a_number_stays_alone():
    p = tp.FullTensorProduct("0e + 1o + 2e", "0e + 1o + 2e")
    program = program_of(p.form, "float32")
    arrays = {i: rows(50, 9, "float32", "after each other", i) for i in (0, 1)}
    kernel = made_for(p.form, "float32")

    def run():
        result = np.empty((50, 81), dtype=np.float32)
        table = find_arrays(program, arrays, [result], (50,), 50)
        table[2, OUTPUT] = 1
        kernel(guarded(program.tile_size, "float32", align=0)[1], table, 0, 50)
        return result

    before = run()
    arrays[0][[7, 49], 0] = np.nan
    after = run()
    others = np.delete(np.arange(50), [7, 49])
    np.testing.assert_array_equal(after[others], before[others])
    assert np.isnan(after[[7, 49]]).any(axis=1).all()


def test_code_for_arm_is_written():
    """NEON through LLVM's own target: assembled here, not run."""
    program = program_of(PLANS["Gaunt-4-2"], "float32")
    source = write_source(program, machine.most_sums("+neon"))
    assert machine.compile_source(source, "generic", "+neon", "aarch64-unknown-linux-gnu")[:4] == b"\x7fELF"
    text = machine.assembly(source, "generic", "+neon", "aarch64-unknown-linux-gnu")
    assert text.count("fmla") > 4 * program.rows.shape[0]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs a processor of x86")
def test_sums_stay_in_registers():
    """What a function stores beside results and nodes are registers that were not enough."""
    program = program_of(PLANS["Clebsch-Gordan-MIMO-2-2"], "float32")
    text = machine.assembly(write_source(program, machine.most_sums(FEATURES)), NAME, FEATURES)
    assert text.count("Spill") == 0
