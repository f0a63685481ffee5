"""Functions of users with ``cache=True``: read by the next process, and never with the kernel of another plan."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numba
import pytest
from backends.cpu_cases import in_process

#: How a function gets its kernel.
WAYS = {
    "global": """
        kernel = p.numba_kernel()

        @numba.njit(cache=True)
        def function(out, x):
            kernel(out, x, x)

        run = function
        """,
    "of a module": """
        import tpnumba_test_kernels as kernels
        kernels.kernel = p.numba_kernel()

        @numba.njit(cache=True)
        def function(out, x):
            kernels.kernel(out, x, x)

        run = function
        """,
    "closure": """
        def made(kernel):
            @numba.njit(cache=True)
            def function(out, x):
                kernel(out, x, x)

            return function

        function = made(p.numba_kernel())
        run = function
        """,
    "argument": """
        @numba.njit(cache=True)
        def function(kernel, out, x):
            kernel(out, x, x)

        def run(out, x):
            function(p.numba_kernel(), out, x)
        """,
    "global, in parallel": """
        kernel = p.numba_kernel()

        @numba.njit(cache=True, parallel=True)
        def function(out, x):
            for i in numba.prange(1):
                kernel(out, x, x)

        run = function
        """,
    "by another function": """
        kernel = p.numba_kernel()

        @numba.njit
        def inner(out, x):
            kernel(out, x, x)

        @numba.njit(cache=True)
        def function(out, x):
            inner(out, x)

        run = function
        """,
}

#: An older Numba says of parallel loops with kernels that it cannot keep them.
KEEPS_PARALLEL_LOOPS = tuple(map(int, numba.__version__.split(".")[:2])) >= (0, 63)

HEAD = """
import os
import numba
import numpy as np
import tpnumba as tp

p = getattr(tp, os.environ["PRODUCT"])(2, 2, 4)
"""


def outcomes(folder: Path, product: str, **environment: str) -> dict[str, tuple[bool, bool]]:
    """By module: whether the numbers are those of the product, and whether the machine code was read."""
    code = f"""
        import importlib, pathlib, sys
        sys.path.insert(0, {str(folder)!r})
        import numpy as np
        x = np.random.default_rng(0).standard_normal(9)
        for path in sorted(pathlib.Path({str(folder)!r}).glob("user_*.py")):
            user, out = importlib.import_module(path.stem), np.empty(25)
            user.run(out, x)
            right = np.allclose(out, user.p(x, x, backend="generic"), rtol=0, atol=1e-13)
            print(path.stem, right, user.function.stats.cache_hits.total() == 1)
        """
    done = in_process(code, PRODUCT=product, NUMBA_CACHE_DIR="", **environment)
    assert done.stderr == ""
    found = (line.split() for line in done.stdout.splitlines())
    return {name: (right == "True", read == "True") for name, right, read in found}


def test_read_by_the_next_process_and_by_no_other_plan(tmp_path):
    ways = {name: way for name, way in WAYS.items() if KEEPS_PARALLEL_LOOPS or "parallel" not in name}
    for number, way in enumerate(ways.values()):
        (tmp_path / f"user_{number}.py").write_text(HEAD + textwrap.dedent(way), encoding="utf-8")
    (tmp_path / "tpnumba_test_kernels.py").write_text("kernel = None\n", encoding="utf-8")
    new = dict.fromkeys((f"user_{number}" for number in range(len(ways))), (True, False))
    assert outcomes(tmp_path, "GauntTensorProduct") == new
    # The files are the same, the product is another one, whose result has as many numbers.
    assert outcomes(tmp_path, "MatrixTensorProduct") == new
    assert outcomes(tmp_path, "MatrixTensorProduct") == dict.fromkeys(new, (True, True))


def test_two_kernels_of_one_process(tmp_path):
    """Both are there, and the global is now the other one."""
    text = HEAD + textwrap.dedent(WAYS["global"]) + "other = tp.GauntTensorProduct(2, 2).numba_kernel()\n"
    text += "others = tp.MatrixTensorProduct(2, 2, 4).numba_kernel()\n"
    (tmp_path / "user_0.py").write_text(text, encoding="utf-8")
    assert outcomes(tmp_path, "GauntTensorProduct") == {"user_0": (True, False)}
    assert outcomes(tmp_path, "MatrixTensorProduct") == {"user_0": (True, False)}


def test_code_of_other_sources_is_not_read(tmp_path):
    """As after an upgrade of the package."""
    text = "import os\n\nfrom tpnumba.inline import recipes\n\nrecipes._sources = lambda: os.environ['SOURCES']\n"
    (tmp_path / "user_0.py").write_text(text + HEAD + textwrap.dedent(WAYS["global"]), encoding="utf-8")
    for sources in ("one", "two"):
        assert outcomes(tmp_path, "GauntTensorProduct", SOURCES=sources) == {"user_0": (True, False)}


@pytest.mark.skipif(KEEPS_PARALLEL_LOOPS, reason="of Numba before 0.63")
def test_parallel_loops_that_an_older_numba_does_not_keep(tmp_path):
    text = HEAD + textwrap.dedent(WAYS["global, in parallel"])
    (tmp_path / "user_0.py").write_text("import warnings\nwarnings.simplefilter('ignore')\n" + text, encoding="utf-8")
    for product in ("GauntTensorProduct", "MatrixTensorProduct", "MatrixTensorProduct"):
        assert outcomes(tmp_path, product) == {"user_0": (True, False)}
