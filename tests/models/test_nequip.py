"""Files of NequIP where its package is not: what the command says. The numbers are those of ``against_nequip``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tpnumba.cli import main
from tpnumba.models.nequip import read_nequip
from tpnumba.models.nequip_files import SUFFIXES


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_command_says_which_package_must_be_there(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nequip", "nequip.model.saved_models.load_utils"):
        monkeypatch.setitem(sys.modules, name, None)
    source, target = tmp_path / f"model{suffix}", tmp_path / "out.safetensors"
    source.write_text("hello")
    assert main(["convert", str(source), str(target)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("tpnumba convert: error: files of NequIP are loaded by the package nequip 0.19")
    assert printed.err.count("\n") == 1
    assert not target.exists()


@pytest.mark.parametrize("option", ["name", "modal"])
def test_options_of_sevennet_are_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "model.ckpt", str(tmp_path / "out.safetensors"), f"--{option}", "PBE"]) == 2
    assert f"--{option} is of SevenNet, and model.ckpt is a model of NequIP by its name" in capsys.readouterr().err


def test_what_nequip_has_not_built_is_refused() -> None:
    class Model:
        def __init__(self) -> None:
            self.weight = 3

    with pytest.raises(TypeError, match="source must be a path or a model that nequip has built, got Model"):
        read_nequip(Model())
