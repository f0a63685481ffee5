"""What the tests of other libraries' arrays share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tpnumba.backends.generic import contraction, harmonics, synthesis, transform


@pytest.fixture
def double_precision_of_jax() -> Iterator[None]:
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture
def only_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generic backend fails, so that whatever works has not used it."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the generic backend was asked")

    for module in (contraction, transform, synthesis, harmonics):
        monkeypatch.setattr(module, "evaluate", refuse)
