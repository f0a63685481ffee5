"""Every snippet of the README runs, in order, and says what its comments claim."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import tolerance

ROOT = Path(__file__).parent.parent
SHAPED = ("z", "f", "grad_x", "g_weights", "values", "cilm")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_snippets(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    snippets = blocks("python")
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), namespace)
    shapes = {name: np.shape(namespace[name]) for name in SHAPED}
    assert shapes == {
        "z": (1000, 256),
        "f": (1000, 49),
        "grad_x": (1000, 16),
        "g_weights": (500, namespace["p"].weight_numel),
        "values": (5, *namespace["grid"].shape),
        "cilm": (5, 2, 13, 13),
    }
    limit = tolerance("float64", 12, 169)
    np.testing.assert_allclose(namespace["again"], namespace["c"], rtol=0, atol=limit)
    np.testing.assert_allclose(namespace["power"], np.sum(namespace["c"] ** 2, axis=-1), rtol=limit)
    outer = np.outer(namespace["x"][0], namespace["y"][0]).ravel()
    np.testing.assert_allclose(namespace["matrix"] @ outer, namespace["f"][0], rtol=0, atol=limit)
    assert capsys.readouterr().out.startswith("44 13\n")


def test_every_language_is_covered() -> None:
    assert set(re.findall(r"```(\w+)\n", README)) == {"python", "console", "text"}


def tpnumba_commands() -> list[str]:
    shown = " && ".join(line for block in blocks("console") for line in block.strip().splitlines())
    inline = re.findall(r"`(tpnumba compare [^`]*)`", README)
    return [part.strip() for part in shown.split("&&") if part.strip().startswith("tpnumba ")] + inline


@pytest.mark.parametrize("command", tpnumba_commands())
def test_commands(command: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tpnumba" / "data" / "caffeine.xyz", tmp_path / "FILE.xyz")
    # With few samples: what is tried here is that the options work, and the gate runs the first command as it stands.
    arguments = [sys.executable, "-m", *command.split(), "--batch", "10"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Clebsch-Gordan" in done.stdout
    for name in re.findall(r"out\.\w+", command):
        assert (tmp_path / name).stat().st_size > 1000


def test_install_and_test_commands_are_those_of_the_gate() -> None:
    """pip and nox cannot run inside the test session; the gate runs them as written here."""
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace(" --quiet", "").splitlines()
    for block in blocks("console"):
        for line in block.strip().splitlines():
            assert line in gate


def test_session_commands_exist() -> None:
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"python -m nox -s (\w+)", README))
    assert named
    assert named <= sessions
