"""Sessions: ``python -m nox -s tests`` (and ``peers``, ``tests_cupy``, ``mutants``, ``lint``, ...), each by itself."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["tests", "lint"]

#: What has a session of its own.
_IGNORED = (
    "--ignore=tests/peers",
    "--ignore=tests/cuda_host",
    "--ignore=tests/models/against_sevenn",
    "--ignore=tests/models/against_nequip",
)

#: One process a core.
_ON_ALL_CORES = ("-n", "auto", "--dist", "worksteal")

#: Peers that benchmarks time: each is installed whole, or left out.
E3NN, E3NN_JAX = ["e3nn==0.6.*"], ["jax", "e3nn-jax"]
CUEQUIVARIANCE = ["cuequivariance", "cuequivariance-torch", "cuequivariance-jax"]  # without its kernels, which are CUDA


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite on NumPy and array-api-strict."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *_ON_ALL_CORES, *_IGNORED, *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Agreement with e3nn, sphericart and pyshtools, to float64 rounding; and with files of torch and safetensors."""
    session.install("torch==2.13.0")  # first and exactly: a looser requirement brings gigabytes of CUDA
    libraries = "safetensors", "e3nn==0.6.*", "sphericart==2.*", "pyshtools==4.*", "astropy", "pint", "xarray"
    session.install(".[test]", *libraries)
    session.run("python", "-m", "pytest", *_ON_ALL_CORES, "tests/peers", *session.posargs)


@nox.session
def namespaces(session: nox.Session) -> None:
    """The property tests on the arrays of torch, dask and jax, and what each of these can do beyond them."""
    session.install("torch==2.13.0")  # as above
    session.install(".[test]", "jax", "dask[array]")
    session.run(
        "python",
        "-m",
        "pytest",
        *_ON_ALL_CORES,
        *_IGNORED,
        "--namespaces=torch,dask",
        *session.posargs,
    )
    # jax compiles every shape that is new to it, so there the properties of products stand for the rest.
    chosen = ("tests/namespaces", "tests/products/test_properties.py", "tests/backends/test_tensordot.py")
    session.run("python", "-m", "pytest", *_ON_ALL_CORES, *chosen, "--namespaces=jax", *session.posargs)


@nox.session
def models(session: nox.Session) -> None:
    """Potentials without torch: those in the wheel of sevenn, and in the hands of ASE and of ``dask.distributed``."""
    session.install(".[test,models,dask]")
    folder = session.create_tmp()
    session.run("python", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "sevenn==0.13.0")
    (wheel,) = Path(folder).absolute().glob("sevenn-*.whl")
    chosen = (*_ON_ALL_CORES, *_IGNORED, "tests/models", "tests/interop")
    session.run("python", "-m", "pytest", *chosen, *session.posargs, env={"TPNUMBA_SEVENN_WHEEL": str(wheel)})


@nox.session
def sevenn(session: nox.Session) -> None:
    """Networks of SevenNet against the package that they come from: energies, forces, stress; takes some minutes."""
    session.install("torch==2.13.0")  # as above
    session.install(".[test,models]", "sevenn==0.13.*")
    session.run("python", "-m", "pytest", *_ON_ALL_CORES, "tests/models/against_sevenn", *session.posargs)


@nox.session
def nequip(session: nox.Session) -> None:
    """Models of NequIP against the package that builds them: energies, forces, stress; takes some minutes."""
    session.install("torch==2.13.0")  # as above
    session.install(".[test,models]", "nequip==0.19.*")
    session.run("python", "-m", "pytest", *_ON_ALL_CORES, "tests/models/against_nequip", *session.posargs)


@nox.session
def tests_cupy(session: nox.Session) -> None:
    """The kernels of the GPU: on the processor and compiled for real devices; on a GPU, if there is one."""
    session.install(".[test]", "cuda-core", "cuda-bindings", "nvidia-cuda-nvrtc")
    session.run("python", "tests/cuda_host/targets.py")
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        session.warn("NOT RUN: there is no C++ compiler here (g++, or what CXX names). No kernel ran on the processor.")
    else:
        session.run("python", "-m", "pytest", "tests/cuda_host", *session.posargs)
        session.run("python", "tests/mutants.py", "cuda")
    version = _driver_version()
    if version is None:
        session.warn("NOT RUN: there is no GPU here. No kernel ran on one, cuFFT was not tried, nothing was timed.")
        return
    session.install(f"cupy-cuda{min(version, 13)}x")
    chosen = ("tests/namespaces", "tests/products", "tests/sphere", "tests/backends")
    session.run("python", "-m", "pytest", *chosen, "--namespaces=cupy", *session.posargs)


def _driver_version() -> int | None:
    """The CUDA that the driver of a GPU offers; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    said = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"CUDA Version: (\d+)", said)
    return int(found.group(1)) if found else None


def _install_benchmarks(session: nox.Session, *peers: list[str]) -> None:
    """What benchmarks need, and those of the peers that can be installed."""
    session.install("torch==2.13.0")  # as above
    session.install(".[bench]")
    for peer in peers:
        try:
            session.install(*peer)
        except CommandFailed:
            session.warn(f"{', '.join(peer)} cannot be installed; the report will say so")


@nox.session
def bench_peers(session: nox.Session) -> None:
    """Time against every peer that can be installed, into ``benchmarks/results``; takes about 35 minutes."""
    _install_benchmarks(session, E3NN, ["sphericart==2.*"], E3NN_JAX, ["e3j"], CUEQUIVARIANCE)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def bench_convolution(session: nox.Session) -> None:
    """Time and memory of a convolution against its peers, into ``benchmarks/results``; takes about 15 minutes."""
    _install_benchmarks(session, E3NN, E3NN_JAX, CUEQUIVARIANCE)
    session.run("python", "-m", "benchmarks.convolution", *session.posargs)


@nox.session
def paper(session: nox.Session) -> None:
    """The paper's benchmark, with its own ways of computing the products, into ``benchmarks/results``; half an hour."""
    session.install(".[study]")
    results = "benchmarks/results"
    run = f"{results}/benchmark-cpu.json"
    figures = [option for kind in ("png", "svg") for option in ("--plot", f"{results}/benchmark-cpu.{kind}")]
    session.run("tpnumba", "benchmark", "--reference", "--json", run, *figures, *session.posargs)
    trained = min(Path(results).glob("tetris-*.json"))
    session.run("python", "-m", "benchmarks.paper", run, str(trained))


@nox.session
def bench_advice(session: nox.Session) -> None:
    """Whether the adviser's first choice is the quickest, over 120 requirements; takes about 5 minutes."""
    session.install(".[bench]")
    session.run("python", "-m", "benchmarks.advice", *session.posargs)


@nox.session
def tetris(session: nox.Session) -> None:
    """The Tetris experiment of the paper, all products and ten seeds, into ``benchmarks/results``; some minutes."""
    session.install(".[study]")
    session.run("python", "-m", "benchmarks.tetris", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The pages, into ``docs/_build/html``: every example and every docstring is run, and warnings are errors."""
    session.install("torch==2.13.0")  # as above
    session.install(".[docs]", "jax", "dask[array]")
    for folder in ("_api", "_build", "_figures", "howto"):  # an example is only run anew if its output is not there
        shutil.rmtree(f"docs/{folder}", ignore_errors=True)
    options = ("-W", "--keep-going", "-q", *session.posargs)
    for builder in ("html", "doctest"):
        session.run("python", "-m", "sphinx", *options, "-b", builder, "docs", f"docs/_build/{builder}")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting and types."""
    session.install(".[study]", "ruff==0.17.*", "mypy==2.*", "scipy-stubs", "nox")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def mutants(session: nox.Session) -> None:
    """Faults planted on purpose, each of which the tests must notice."""
    session.install(".[test]")
    session.run("python", "tests/mutants.py")
