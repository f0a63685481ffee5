"""When code is made for a plan, where it is kept, and that nothing shows which kernel has been at work."""

from __future__ import annotations

import textwrap
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from backends.cpu_cases import assert_interrupt_is_answered, in_process
from backends.test_cpu_cache import READ_ONLY

import tpnumba as tp
from tpnumba.backends.cpu.contraction.lower import lower_contraction
from tpnumba.backends.cpu.layout import ENTRY_ENOUGH, ENTRY_SAMPLES, NEVER
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.backends.cpu.runtime import compiler
from tpnumba.backends.cpu.specialised import store, tiers

#: A folder for code of plans only, so that kernels need not be compiled anew.
OWN_FOLDER = """
    import os, pathlib
    from tpnumba.backends.cpu.specialised import store
    store.cache_folder = lambda: pathlib.Path(os.environ["CODE_FOLDER"])
    """
#: A call of a product, which kernel the program has before and after, and a call with code made for it.
CALLS = """
    import numpy as np, tpnumba as tp
    from tpnumba.backends.cpu.lowering import program_of
    from tpnumba.backends.cpu.specialised.tiers import tier_of

    p = tp.FullTensorProduct("0e + 1o", "0e + 1o")
    x = np.arange(80.0, dtype="float32").reshape(20, 4)
    before = p(x, x)
    tier = tier_of(program_of(p.form, "float32"))
    print(tier.is_specialised)
    tier.compile()
    print(tier.is_specialised, np.array_equal(before, p(x, x)))
    """


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for machine code."""
    monkeypatch.setattr(store, "cache_folder", lambda: tmp_path)
    return tmp_path


#: Let it seem as if calls had evaluated samples.
COUNT = """
    def count(tier, samples):
        from tpnumba.backends.cpu.layout import ENTRY_SAMPLES
        tier._program.entry[ENTRY_SAMPLES] += samples
        tier.ask_if_it_pays()
    """


def count(tier: tiers.Tier, samples: int) -> None:
    """The same here."""
    tier._program.entry[ENTRY_SAMPLES] += samples
    tier.ask_if_it_pays()


def new_program():
    """A program that no other test has used."""
    program = lower_contraction(tp.FullTensorProduct("0e + 1o", "0e + 1o").form, "float32", 4)
    assert program is not None
    return program


def test_code_is_compiled_in_the_background_when_it_pays(folder, monkeypatch):
    program = new_program()
    done = threading.Event()
    compile_now = tiers.Tier.compile
    monkeypatch.setattr(tiers.Tier, "compile", lambda tier: (compile_now(tier), done.set()))
    tier = tiers.tier_of(program)
    assert tiers.tier_of(program) is tier
    samples = 0
    while program.entry[ENTRY_ENOUGH] != NEVER:
        assert not done.is_set()
        count(tier, 10_000)
        samples += 10_000
    assert 0.02 < samples * program.seconds < 1
    assert done.wait(30)
    assert tier.is_specialised
    assert [path.suffix for path in folder.iterdir()] == [".o"]
    again = tiers.Tier(program)
    assert again.is_specialised


def test_sums_over_samples_and_rows_by_number_stay_with_tables():
    p = tp.GauntTensorProduct(2, 2, method="direct")
    rng = np.random.default_rng(0)
    x, y, g = rng.standard_normal((300, 9)), rng.standard_normal(9), rng.standard_normal((300, 25))
    edges = tp.Edges(rng.integers(0, 300, 700), rng.integers(0, 300, 700), 300)
    convolution = tp.TensorProductConvolution(p)
    z = rng.standard_normal((700, 9))

    def results():
        return *p.vjp(x, y, g), p(x, y), convolution(x, z, None, edges)

    assert p.specialize("float64") == 3
    with_code = results()
    put_back = [tiers.tier_of(program_of(p.form.adjoint(i), "float64")).put_aside() for i in range(3)]
    by_tables = results()
    for back in put_back:
        back()
    for one, other in zip(with_code, by_tables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_a_damaged_file_is_written_anew(folder, damage):
    program = new_program()
    tiers.Tier(program).compile()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[:-1], "changed": whole[:40] + b"x" + whole[41:]}[damage])
    tier = tiers.Tier(program)
    assert not tier.is_specialised
    tier.compile()
    assert tier.is_specialised
    assert path.read_bytes() == whole


def test_code_is_kept_between_processes(tmp_path):
    code = "".join(map(textwrap.dedent, (OWN_FOLDER, CALLS)))
    first = in_process(code, CODE_FOLDER=str(tmp_path))
    assert first.stdout.split() == ["False", "True", "True"], first.stderr
    again = in_process(code, CODE_FOLDER=str(tmp_path))
    assert again.stdout.split() == ["True", "True", "True"], again.stderr


def test_where_nothing_can_be_written_code_is_made_with_one_warning(tmp_path):
    code = "".join(map(textwrap.dedent, (OWN_FOLDER, READ_ONLY, CALLS)))
    done = in_process(code, CODE_FOLDER=str(tmp_path))
    assert done.stdout.split() == ["False", "True", "True"], done.stderr
    assert done.stderr.count("RuntimeWarning") == done.stderr.count("Read-only file system") == 1


def test_a_full_disk_is_one_warning(folder, monkeypatch):
    compiler.warn_uncached.cache_clear()
    program = new_program()
    monkeypatch.setattr(store.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    tier = tiers.Tier(program)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        tier.compile()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiers.Tier(program).compile()
    assert tier.is_specialised
    assert not list(folder.iterdir())


def test_it_can_be_turned_off(tmp_path):
    code = "".join(map(textwrap.dedent, (OWN_FOLDER, CALLS)))
    done = in_process(code, CODE_FOLDER=str(tmp_path), TPNUMBA_SPECIALIZE="0")
    assert done.stdout.split() == ["False", "False", "True"], done.stderr
    assert not list(tmp_path.iterdir())
    done = in_process(CALLS, TPNUMBA_SPECIALIZE="yes")
    assert "TPNUMBA_SPECIALIZE must be 0 or 1, got 'yes'" in done.stderr


def test_a_failure_to_compile_is_a_warning(folder, monkeypatch):
    program = new_program()
    tier = tiers.Tier(program)
    said = threading.Event()
    monkeypatch.setattr(tiers, "_compiled", lambda _: (_ for _ in ()).throw(RuntimeError("no target")))
    monkeypatch.setattr(warnings, "warn", lambda text, *_, **__: said.set() if "no target" in str(text) else None)
    count(tier, 10**9)
    assert said.wait(10)
    assert not tier.is_specialised


def test_the_child_of_a_fork_compiles_for_itself(tmp_path):
    done = in_process(
        textwrap.dedent(OWN_FOLDER)
        + textwrap.dedent(COUNT)
        + textwrap.dedent("""
        import os, time, warnings
        import numpy as np, tpnumba as tp
        from tpnumba.backends.cpu.lowering import program_of
        from tpnumba.backends.cpu.specialised import tiers

        warnings.simplefilter("ignore")
        p = tp.FullTensorProduct("0e + 1o", "0e + 1o")
        x = np.ones((20, 4), dtype="float32")
        expected = p(x, x)
        tier = tiers.tier_of(program_of(p.form, "float32"))
        compile_now = tiers.Tier.compile
        tiers.Tier.compile = lambda tier: time.sleep(2)  # still at it when the process forks
        count(tier, 10**9)
        pid = os.fork()
        if pid == 0:
            tiers.Tier.compile = compile_now
            count(tier, 1)
            end = time.time() + 20
            while not tier.is_specialised and time.time() < end:
                time.sleep(0.01)
            os._exit(0 if tier.is_specialised and np.array_equal(p(x, x), expected) else 1)
        print(os.waitpid(pid, 0)[1])
        """),
        CODE_FOLDER=str(tmp_path),
    )
    assert done.stdout == "0\n", done.stderr


def test_a_process_that_ends_waits_for_the_compiler(tmp_path):
    done = in_process(
        textwrap.dedent(OWN_FOLDER)
        + textwrap.dedent(COUNT)
        + textwrap.dedent("""
        import numpy as np, tpnumba as tp
        from tpnumba.backends.cpu.lowering import program_of
        from tpnumba.backends.cpu.specialised import tiers

        for L in (4, 5):
            Y = tp.Irreps.spherical_harmonics(L)
            p = tp.GauntTensorProduct(L, L, method="direct")
            p(np.ones((2, Y.dim)), np.ones((2, Y.dim)))
            count(tiers.tier_of(program_of(p.form, "float64")), 10**9)
        print("ends")
        """),
        CODE_FOLDER=str(tmp_path),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")


def test_interrupts_are_answered_by_code_made_for_a_plan():
    assert_interrupt_is_answered(
        """
        import numpy as np, tpnumba as tp
        from tpnumba.backends.cpu.lowering import program_of
        from tpnumba.backends.cpu.specialised.tiers import tier_of

        Y = tp.Irreps.spherical_harmonics(2)
        p = tp.FullTensorProduct(Y, Y)
        tier = tier_of(program_of(p.form, "float32"))
        tier.compile()
        assert tier.is_specialised
        x = np.random.default_rng(0).standard_normal((100, 9)).astype("float32")
        many, out = np.broadcast_to(x[0], (3_000_000, 9)), np.empty((3_000_000, 81), dtype="float32")
        short = lambda n: p(x, x, num_threads=n)
        long = lambda n: p(many, many[:, :], out=out, num_threads=n)
        """
    )
