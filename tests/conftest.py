"""Backends as one enum and one fixture: every property test runs on each of them."""

from __future__ import annotations

import enum
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import array_api_strict
import hypothesis
import numpy as np
import pytest

from tpnumba.backends import registry

hypothesis.settings.register_profile("tpnumba", deadline=None, derandomize=True, max_examples=25, print_blob=True)
_plain = hypothesis.settings.get_profile("tpnumba")
hypothesis.settings.register_profile("namespaces", _plain, max_examples=8)
# Every product and shape that is new to jax is compiled, so that an example takes seconds.
hypothesis.settings.register_profile("jax", _plain, max_examples=2)


@dataclass(frozen=True)
class Namespace:
    """An array namespace and a device, as the tests use them: data go in and out as NumPy arrays."""

    xp: Any
    device: Any
    backend: str
    writable: bool = True
    subnormal: bool = True

    def asarray(self, values: Any, dtype: str | None = None, core: int = 1) -> Any:
        """An array of the namespace; of dask, in chunks along all but the ``core`` last axes."""
        array = np.asarray(values, dtype=dtype)
        if self.xp is np:
            return array
        if self.is_dask:
            leading = max(0, array.ndim - core)
            return self.xp.from_array(array, chunks=(*(2,) * leading, *array.shape[leading:]))
        dtype = getattr(self.xp, array.dtype.name)
        if self.xp is array_api_strict:
            return self.xp.asarray(array, dtype=dtype, device=self.device)
        return self.xp.asarray(array.copy(), dtype=dtype)

    def to_numpy(self, array: Any) -> Any:
        """An array of the namespace as NumPy's, computed."""
        if self.xp is np:
            return array
        if self.xp is array_api_strict:
            assert array.device == self.device
            return np.asarray(self.xp.asarray(array, device=self.xp.Device("CPU_DEVICE")))
        if self.is_dask:
            return array.compute(scheduler="synchronous")
        if self.xp.__name__ == "torch":
            return array.numpy()
        return array.get() if hasattr(array, "get") else np.array(array)

    @property
    def is_dask(self) -> bool:
        return bool(self.xp.__name__ == "dask.array")


class Backend(enum.Enum):
    """What the property tests run on; the libraries of the second half if they are asked for by ``--namespaces``."""

    NUMPY_GENERIC = "numpy-generic"
    NUMPY_CPU = "numpy-cpu"
    STRICT = "array_api_strict"
    STRICT_DEVICE1 = "array_api_strict-device1"
    TORCH = "torch"
    JAX = "jax"
    DASK = "dask"
    CUPY = "cupy"

    @property
    def is_library(self) -> bool:
        """Whether it is a library that the package is written for but does not need."""
        return self in (Backend.TORCH, Backend.JAX, Backend.DASK, Backend.CUPY)

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.value) is not None

    def namespace(self) -> Namespace:  # noqa: PLR0911
        match self:
            case Backend.NUMPY_GENERIC:
                return Namespace(np, None, "generic")
            case Backend.NUMPY_CPU:
                return Namespace(np, None, "cpu")
            case Backend.TORCH:
                import torch

                return Namespace(torch, torch.device("cpu"), "auto")
            case Backend.JAX:
                import jax.numpy

                return Namespace(jax.numpy, None, "auto", writable=False, subnormal=False)
            case Backend.DASK:
                import dask.array

                return Namespace(dask.array, None, "generic", writable=False)
            case Backend.CUPY:
                import cupy  # needs a GPU too

                return Namespace(cupy, None, "gpu")
        device = "CPU_DEVICE" if self is Backend.STRICT else "device1"
        return Namespace(array_api_strict, array_api_strict.Device(device), "generic")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--namespaces",
        default="",
        help="run on these alone, such as torch,dask: of torch, jax, dask, cupy those installed",
    )


def pytest_configure(config: pytest.Config) -> None:
    chosen = _chosen(config)
    hypothesis.settings.load_profile("jax" if "jax" in chosen else "namespaces" if chosen else "tpnumba")
    if "jax" in chosen:
        os.environ["JAX_ENABLE_X64"] = "true"
        os.environ["JAX_PLATFORMS"] = "cpu"
        # Two devices on one machine, so that the wrong one can be met.
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
        # Compiling takes much longer than running here.
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"


def _chosen(config: pytest.Config) -> list[str]:
    names = [name for name in config.getoption("--namespaces").split(",") if name]
    unknown = [name for name in names if name not in [b.value for b in Backend if b.is_library]]
    if unknown:
        raise pytest.UsageError(f"--namespaces: {', '.join(unknown)} is not one of torch, jax, dask, cupy")
    return names


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of the tests for one library only, keep those that were asked for."""
    if collection_path.parent.name != "namespaces" or collection_path.is_dir():
        return None
    return collection_path.stem.removeprefix("test_").split("_")[0] not in _chosen(config) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the session of the namespaces, leave out what does not depend on them."""
    if _chosen(config):
        folder = Path(__file__).parent / "namespaces"
        kept = [item for item in items if "xp" in getattr(item, "fixturenames", ()) or folder in item.path.parents]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "xp" in metafunc.fixturenames:
        chosen = _chosen(metafunc.config)
        members = [b for b in Backend if (b.value in chosen and b.is_installed if chosen else not b.is_library)]
        metafunc.parametrize("xp", members, ids=lambda b: b.value, indirect=True, scope="session")


# For the session: hypothesis refuses fixtures that are made anew for each test, and nothing in it changes.
@pytest.fixture(scope="session")
def xp(request: pytest.FixtureRequest) -> Namespace:
    return request.param.namespace()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """NumPy arrays go to the fastest backend; where the reference is meant, the kernels are out of the way."""
    namespace = getattr(item, "funcargs", {}).get("xp")
    if namespace is None or namespace.xp is not np or namespace.backend == "cpu":
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "AUTOMATIC", ("generic",))
        return (yield)
