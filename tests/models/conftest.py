"""The wheel of sevenn, whose checkpoints some tests of potentials read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tpnumba.models import Potential
from tpnumba.models.sevennet import read_sevennet

#: Checkpoints of the wheel with one of their fidelities.
CHECKPOINTS = (
    ("SevenNet_0__11Jul2024", None),
    ("SevenNet_0__22May2024", None),
    ("SevenNet_MF_0", "PBE"),
    ("SevenNet_MF_0", "R2SCAN"),
    ("SevenNet_l3i5", None),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of a ``checkpoint`` run on all."""
    if "checkpoint" in metafunc.fixturenames:
        ids = [name if modal is None else f"{name}-{modal}" for name, modal in CHECKPOINTS]
        metafunc.parametrize("checkpoint", CHECKPOINTS, ids=ids, scope="session")


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel of sevenn 0.13.0, which has four checkpoints."""
    name = os.environ.get("TPNUMBA_SEVENN_WHEEL")
    if not name:
        pytest.skip("TPNUMBA_SEVENN_WHEEL is to name the wheel of sevenn 0.13.0 (pip download sevenn --no-deps)")
    assert zipfile.is_zipfile(name), f"TPNUMBA_SEVENN_WHEEL is {name!r}, which is no wheel"
    return Path(name)


@pytest.fixture(scope="session")
def read(wheel: Path) -> Callable[..., Potential]:
    """Potentials of checkpoints, each made once."""
    made: dict[tuple[str, str | None, str], Potential] = {}

    def potential(checkpoint: tuple[str, str | None], dtype: str = "float64") -> Potential:
        if (*checkpoint, dtype) not in made:
            name, modal = checkpoint
            made[(*checkpoint, dtype)] = Potential(*read_sevennet(wheel, name=name, modal=modal), dtype=dtype)
        return made[(*checkpoint, dtype)]

    return potential
