"""The key of the machine-code cache: it changes with any source file of the package, however deep."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tpnumba.backends import cpu
from tpnumba.backends.cpu.runtime.compiler import hash_sources

CPU = Path(cpu.__file__).parent


def test_kernels_import_nothing_from_outside_of_what_the_key_is_of():
    compiled = [
        path
        for path in CPU.rglob("*.py")
        if "from numba.extending import intrinsic" in (text := path.read_text(encoding="utf-8"))
        or "runtime.compiler import" in text
        or "simd.intrinsics import" in text
    ]
    assert len(compiled) > 8
    for path in compiled:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("from tpnumba", "import tpnumba")):
                assert line.startswith("from tpnumba.backends.cpu."), (path, line)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the folder that the key is of."""
    copy = tmp_path / "cpu"
    shutil.copytree(CPU, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_every_source_file_is_in_the_key(package: Path):
    before = hash_sources(package)
    files = sorted(package.rglob("*.py"))
    assert {len(path.relative_to(package).parts) for path in files} >= {1, 2}
    for path in files:
        text = path.read_bytes()
        path.write_bytes(text + b"\n")
        assert hash_sources(package) != before, path
        path.write_bytes(text)
    assert hash_sources(package) == before


def test_a_file_in_a_new_subfolder_changes_the_key_and_so_does_its_place(package: Path):
    keys = [hash_sources(package)]
    folder = package / "simd" / "deeper" / "still"
    folder.mkdir(parents=True)
    (folder / "kernel.py").write_text("FACTOR = 2\n")
    keys.append(hash_sources(package))
    (folder / "kernel.py").write_text("FACTOR = 3\n")
    keys.append(hash_sources(package))
    (folder / "kernel.py").rename(folder.parent / "kernel.py")
    keys.append(hash_sources(package))
    assert len(set(keys)) == len(keys)


def test_what_is_no_source_does_not_change_the_key(package: Path):
    before = hash_sources(package)
    (package / "simd" / "__pycache__").mkdir()
    (package / "simd" / "__pycache__" / "kernel.cpython-312.pyc").write_bytes(b"code")
    (package / "notes.txt").write_text("no code")
    assert hash_sources(package) == before


def test_text_that_moves_from_one_file_to_the_next_changes_the_key(tmp_path: Path):
    keys = []
    for name, texts in (("first", ("ab", "c")), ("second", ("a", "bc"))):
        (tmp_path / name).mkdir()
        for file, text in zip("xy", texts, strict=True):
            (tmp_path / name / f"{file}.py").write_text(text)
        keys.append(hash_sources(tmp_path / name))
    assert keys[0] != keys[1]
