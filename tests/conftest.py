"""Backends as one enum and one fixture: every property test runs on each of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import array_api_strict
import hypothesis
import numpy as np
import pytest

from tpnumba import backends

hypothesis.settings.register_profile("tpnumba", deadline=None, derandomize=True, max_examples=25, print_blob=True)
hypothesis.settings.load_profile("tpnumba")


@dataclass(frozen=True)
class Namespace:
    """An array namespace and a device, as the tests use them: data go in and out as NumPy arrays."""

    xp: Any
    device: Any
    backend: str

    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        array = np.asarray(values, dtype=dtype)
        if self.xp is np:
            return array
        return self.xp.asarray(array, dtype=getattr(self.xp, array.dtype.name), device=self.device)

    def to_numpy(self, array: Any) -> Any:
        if self.xp is np:
            return array
        assert array.device == self.device
        return np.asarray(self.xp.asarray(array, device=self.xp.Device("CPU_DEVICE")))


class Backend(enum.Enum):
    """What the property tests run on."""

    NUMPY_GENERIC = "numpy-generic"
    NUMPY_CPU = "numpy-cpu"
    STRICT = "array_api_strict"
    STRICT_DEVICE1 = "array_api_strict-device1"

    def namespace(self) -> Namespace:
        if self is Backend.NUMPY_GENERIC:
            return Namespace(np, None, "generic")
        if self is Backend.NUMPY_CPU:
            return Namespace(np, None, "cpu")
        device = "CPU_DEVICE" if self is Backend.STRICT else "device1"
        return Namespace(array_api_strict, array_api_strict.Device(device), "generic")


# For the session: hypothesis refuses fixtures that are made anew for each test, and nothing in it changes.
@pytest.fixture(scope="session", params=list(Backend), ids=lambda backend: backend.value)
def xp(request: pytest.FixtureRequest) -> Namespace:
    return request.param.namespace()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """NumPy arrays go to the fastest backend; where the reference is meant, the kernels are out of the way."""
    namespace = getattr(item, "funcargs", {}).get("xp")
    if namespace is None or namespace.xp is not np or namespace.backend == "cpu":
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends.cpu, "supports", lambda *_: False)
        return (yield)
