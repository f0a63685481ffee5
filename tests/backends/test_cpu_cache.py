"""The CPU's machine code: how it is compiled, kept between processes, and never stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from backends.cpu_cases import FULL, VECTOR_FIELDS, in_process

import tpnumba as tp
from tpnumba.backends.cpu.contraction import kernel as contraction
from tpnumba.backends.cpu.contraction.entry import contraction_entry
from tpnumba.backends.cpu.runtime import compiler
from tpnumba.backends.cpu.runtime.compiler import cache_folder
from tpnumba.backends.cpu.transform import kernel as transform
from tpnumba.backends.cpu.transform.entry import transform_entry


def test_only_safe_fast_math(tmp_path: Path):
    """In what the compiler was given; code from the cache does not show it, so a new one is made."""
    assert {"contract", "nsz", "arcp"} == compiler.FAST_MATH
    assert contraction.contract.targetoptions["fastmath"] == compiler.FAST_MATH
    assert transform.transform.targetoptions["fastmath"] == compiler.FAST_MATH
    code = """
        import re
        import numpy as np, tpnumba as tp
        from tpnumba.backends.cpu.contraction import kernel as contraction
        from tpnumba.backends.cpu.transform import kernel as transform

        tp.FullTensorProduct("1o", "1o")(np.ones((2, 3)), np.ones((2, 3)))
        tp.GauntTensorProduct(1, 1, method="grid")(np.ones((2, 4)), np.ones((2, 4)))
        for kernel in (contraction.contract, transform.transform):
            (text,) = kernel.inspect_llvm().values()
            found = re.findall(r"= f(?:mul|add|sub|div|neg)((?: \\w+)*?) (?:<|float|double)", text)
            print(len(found), *sorted({word for words in found for word in words.split()}))
        """
    lines = in_process(code, TPNUMBA_CACHE_DIR=str(tmp_path)).stdout.splitlines()
    assert len(lines) == 2
    for count, *flags in map(str.split, lines):
        assert int(count) > 10
        assert set(flags) == {"contract", "nsz", "arcp"}


def test_a_new_irreps_string_compiles_nothing():
    FULL(np.ones((2, 16)), np.ones((2, 16)))
    VECTOR_FIELDS(np.ones((2, 27)), np.ones((2, 27)))
    before = contraction_entry.cache_info().misses, transform_entry.cache_info().misses
    assert min(before) > 0
    for text in ("5x0e + 2x3o", "1e", "0e + 6e"):
        p = tp.FullTensorProduct(text, "1o + 2x2e")
        p(np.ones((3, p.irreps_in1.dim)), np.ones((3, p.irreps_in2.dim)))
    for q in (tp.GauntTensorProduct(3, 5, method="fourier"), tp.BracketTensorProduct(4, 1, method="grid")):
        q(np.ones((3, q.irreps_in1.dim)), np.ones((3, q.irreps_in2.dim)))
    assert (contraction_entry.cache_info().misses, transform_entry.cache_info().misses) == before


QUICK = """
    import numpy as np, tpnumba as tp
    print(tp.FullTensorProduct("1o", "1o", "1e")(np.array([1.0, 0, 0]), np.array([0, 1.0, 0])).tolist())
    """


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A cache that one process has filled, to be copied, and what that process said."""
    cache = tmp_path_factory.mktemp("cache")
    done = in_process(QUICK, TPNUMBA_CACHE_DIR=str(cache))
    assert done.stdout.startswith("[0.0, 0.0, 0.7"), done.stderr
    return cache, done.stdout


def copied(quick: tuple[Path, str], to: Path) -> str:
    """Copy the cache; what the process that filled it said."""
    shutil.copytree(quick[0], to, dirs_exist_ok=True)
    return quick[1]


#: A folder that cannot be written, also by root, whom permissions do not stop; before Numba is imported.
READ_ONLY = """
    import builtins, errno, os

    def refusing(function, writes):
        def call(path, *arguments, **named):
            if writes(*arguments, **named):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return function(path, *arguments, **named)
        return call

    builtins.open = refusing(builtins.open, lambda mode="r", *_, **__: bool(set(mode) & set("wax+")))
    os.open = refusing(os.open, lambda flags, *_, **__: bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))
    for name in ("mkdir", "unlink", "rename", "replace"):
        setattr(os, name, refusing(getattr(os, name), lambda *_, **__: True))
    """


def test_what_a_read_only_cache_lacks_is_compiled_with_one_warning(tmp_path: Path, quick):
    first = copied(quick, tmp_path)
    more = """
        from tpnumba.backends.cpu.contraction.entry import contraction_entry
        from tpnumba.backends.cpu.transform.entry import transform_entry
        found = contraction_entry(4, "float64")[1].stats
        print(found.cache_hits.total(), found.cache_misses.total(), flush=True)
        x = np.arange(4, dtype="float32")
        print(tp.FullTensorProduct("0e + 1o", "0e + 1o")(x, x).tolist())
        print(tp.GauntTensorProduct(1, 1, method="grid")(x, x).tolist())
        made = contraction_entry(4, "float32"), transform_entry(4, "float32")
        print(*(compiled.stats.cache_misses.total() for _, compiled in made))
        """
    code = "".join(map(textwrap.dedent, (READ_ONLY, QUICK, more)))
    done = in_process(code, TPNUMBA_CACHE_DIR=str(tmp_path))
    x = np.arange(4, dtype="float32")
    products = tp.FullTensorProduct("0e + 1o", "0e + 1o"), tp.GauntTensorProduct(1, 1, method="grid")
    expected = [first.strip(), "1 0", *(str(p(x, x).tolist()) for p in products), "1 1"]
    assert done.stdout.splitlines() == expected, done.stderr
    assert done.stderr.count("RuntimeWarning") == done.stderr.count("Read-only file system") == 1
    assert "TPNUMBA_CACHE_DIR" in done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not stop root")
def test_a_folder_without_permission_to_write_is_read(tmp_path: Path, quick):
    first = copied(quick, tmp_path)
    (folder,) = tmp_path.iterdir()
    for path in (folder, tmp_path):
        path.chmod(0o555)
    again = in_process(QUICK, TPNUMBA_CACHE_DIR=str(tmp_path))
    for path in (tmp_path, folder):
        path.chmod(0o755)
    assert (again.stdout, again.stderr) == (first, "")


def test_without_a_writable_cache_there_is_one_warning_and_the_right_result(tmp_path: Path):
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    done = in_process(QUICK, TPNUMBA_CACHE_DIR=str(nowhere / "cache"))
    assert done.stdout.startswith("[0.0, 0.0, 0.7")
    assert done.stderr.count("found no writable folder") == 1
    assert "TPNUMBA_CACHE_DIR" in done.stderr


def test_machine_code_is_kept_and_taken_again_and_never_stale(tmp_path: Path, quick):
    """A second process compiles nothing; a package whose kernels differ, even in a callee, does not use the first's."""
    cache = tmp_path / "cache"
    first = copied(quick, cache)
    (folder,) = cache.iterdir()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert kept
    again = in_process(QUICK, TPNUMBA_CACHE_DIR=str(cache))
    assert again.stdout == first
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == kept

    package = tmp_path / "site" / "tpnumba"
    shutil.copytree(Path(tp.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    callee = package / "backends" / "cpu" / "simd" / "rows.py"
    text = callee.read_text()
    changed = text.replace("tile[to + sample] = read(tile, source", "tile[to + sample] = 3.0 * read(tile, source")
    assert changed != text
    callee.write_text(changed)
    other = in_process(QUICK, TPNUMBA_CACHE_DIR=str(cache), PYTHONPATH=str(tmp_path / "site"))
    assert other.stdout.startswith("[0.0, 0.0, 6.3"), other.stderr
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", [("nbi", "empty"), ("nbc", "cut"), ("nbc", "mixed up")])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage, quick):
    kind, how = damage
    first = copied(quick, tmp_path)
    files = sorted(tmp_path.glob(f"*/*.{kind}"))
    whole = [path.read_bytes() for path in files]
    for i, path in enumerate(files):
        path.write_bytes({"empty": b"", "cut": whole[i][:200], "mixed up": whole[i - 1]}[how])
    again = in_process(QUICK, TPNUMBA_CACHE_DIR=str(tmp_path))
    assert (again.stdout, again.stderr) == (first, "")
    assert all(path.stat().st_size > 200 for path in files)


def test_a_full_disk_is_no_error(tmp_path: Path):
    code = """
        import numba.core.caching as caching

        def full(*_):
            raise OSError(28, "No space left on device")

        caching.IndexDataCacheFile.save = full
        """
    done = in_process(textwrap.dedent(code) + textwrap.dedent(QUICK), TPNUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout.startswith("[0.0, 0.0, 0.7"), done.stderr
    assert done.stderr.count("No space left on device") == 1


#: Kernels of every kind, tiles of every width.
EVERYTHING = """
    import numpy as np, tpnumba as tp
    from tpnumba import nn

    product = tp.ChannelwiseTensorProduct("32x0e + 32x1o + 32x2e", "0e + 1o + 2e", layout="ir_mul")
    convolution, edges = tp.TensorProductConvolution(product), tp.Edges(np.arange(9), np.arange(9), 9)
    table = nn.SplineTable(lambda r: r[:, None], 1.0, tolerance=0.1)
    for dtype in ("float32", "float64"):
        for mul in (1, 30, 300):
            p = tp.ChannelwiseTensorProduct(f"{mul}x0e + {mul}x1o", "0e + 1o + 2e")
            p(np.ones(p.irreps_in1.dim, dtype), np.ones(9, dtype), np.ones(p.weight_numel, dtype))
        for L in (2, 40):
            x = np.ones((L + 1) ** 2, dtype)
            tp.GauntTensorProduct(L, L, method="grid")(x, x)
        small, many = tp.GauntTensorProduct(1, 1), np.ones((3000, 4), dtype)
        for _ in range(4):  # prepared in the end, for one sample and for many
            small(many[0], many[0])
            small(many, many)
        for L in (1, 8, 20):
            tp.SphericalHarmonics(L).value_and_jacobian(np.ones((3, 3), dtype))
            tp.SphericalHarmonics(L, normalize=False).vjp(np.ones(3, dtype), np.ones((L + 1) ** 2, dtype))
        x, y, w = (np.ones((9, n), dtype) for n in (32 * 9, 9, product.weight_numel))
        convolution.vjp(x, y, convolution(x, y, w, edges), edges, weights=w)
        network, r = nn.MLP([8, 64, 10], nn.Activation("silu")), np.full(9, 0.5, dtype)
        network.vjp(x[:, :8], y[:, [0] * 10], weights=np.ones(network.weight_numel, dtype))
        nn.Linear("32x0e + 32x1o + 32x2e", "0e + 1o", layout="ir_mul")(x, np.ones(64, dtype))
        table.vjp(r, table(r))

    from tpnumba.backends.cpu.runtime import threads
    for n in (1, 2):  # threads; the function does nothing, whatever it is given
        job = threads.NativeJob(threads._address_in_c("sched_yield"), 0, chunk=1, samples=n, chunks=n, tile_bytes=8)
        threads.share_native(job, n)
    """


#: Which files of the cache a process reads and writes, one a line in the file that ``NOTED`` names.
NOTED = """
    import builtins, os, sys

    def noting(function, place):
        def call(*arguments, **named):
            found = function(*arguments, **named)
            path = str(arguments[place])
            if path.endswith((".nbi", ".nbc")):
                print(path, file=noted, flush=True)
            return found
        return call

    noted = open(os.environ["NOTED"], "w")
    builtins.open, os.replace = noting(builtins.open, 0), noting(os.replace, 1)

    from tpnumba.cli import main
    main(["warmup"])
    """


def test_warmup_leaves_nothing_to_compile_also_in_a_folder_that_can_only_be_read(tmp_path: Path):
    """It compiles for all tests. What it did not take from their cache or put there is missing in a copy."""
    noted, folder = tmp_path / "noted", tmp_path / cache_folder().name
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(NOTED)],
        env={**os.environ, "NOTED": str(noted)},
        capture_output=True,
        text=True,
        check=True,
    )
    for kind in ("contraction", "transform", "harmonics"):
        assert done.stdout.count(f"{kind}, float") == 6
    assert "networks of scalars, float64" in done.stdout
    folder.mkdir()
    for path in set(noted.read_text().splitlines()):
        shutil.copy(path, folder)
    code = """
        from tpnumba.backends.cpu.contraction.entry import contraction_entry
        from tpnumba.backends.cpu.harmonics.entry import harmonics_entry
        from tpnumba.backends.cpu.runtime import matching
        from tpnumba.backends.cpu.transform.entry import transform_entry

        compiled = [matching.evaluate_briefly, matching.fill_tables]
        for entry in (contraction_entry, transform_entry, harmonics_entry):
            compiled += [entry(vectors, dtype)[1] for vectors in (1, 2, 4) for dtype in ("float32", "float64")]
        print(*(sum(sum(kind.values()) for kind in part) for part in zip(
            *((one.stats.cache_hits, one.stats.cache_misses) for one in compiled)
        )))
        """
    parts = (textwrap.dedent(part) for part in (READ_ONLY, EVERYTHING, code))
    again = in_process("".join(parts), TPNUMBA_CACHE_DIR=str(tmp_path))
    assert (again.stdout, again.stderr) == ("20 0\n", "")
