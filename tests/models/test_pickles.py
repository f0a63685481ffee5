"""Pickles are read as data: plain ones as Python reads them, and of others nothing is executed."""

from __future__ import annotations

import os
import pickle
import pickletools
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpnumba.models.pickles import Building, read_pickle

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=30,
)


class Box(Building):
    """Holds what it is built with."""

    def __init__(self, content: Any = None) -> None:
        self.content = content

    def build(self, state: Any) -> None:
        self.content = state

    def value(self) -> Any:
        return {"box": self.content}


def read(data: bytes) -> Any:
    return read_pickle(
        data,
        constructors={"collections.OrderedDict": lambda items=(): dict(items), "house.Box": Box},
        constants={"house.NAME": "a name"},
        persistent=lambda key: ("object", key),
    )


@given(plain)
def test_plain_data_are_what_python_reads(value: Any) -> None:
    found = read(pickle.dumps(value, protocol=2))
    assert found == value
    assert repr(found) == repr(value), "1, 1.0 and True are different"


def test_shared_parts_are_shared_and_attributes_left_out() -> None:
    part = OrderedDict(a=[1])
    part.note = "of no interest"
    found = read(pickle.dumps([part, part], protocol=2))
    assert found == [{"a": [1]}, {"a": [1]}]
    assert found[0] is found[1]
    assert type(found[0]) is dict
    deep: Any = []
    for _ in range(60):
        deep = [deep, deep]  # 2^60 lists, if every one were read for itself
    assert read(pickle.dumps(deep, protocol=2))[0][1][0]


def test_names_are_what_the_tables_say() -> None:
    assert read(b"\x80\x02chouse\nBox\n)RK\x05b.") == {"box": 5}
    assert read(b"\x80\x02chouse\nNAME\n.") == "a name"
    assert read(b"\x80\x02K\x07Q.") == ("object", 7)


def read_or_refuse(data: bytes) -> None:
    """Whatever the data are, no error but the documented one."""
    with suppress(ValueError):
        read(data)


class Calling:
    """A pickle that calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def malicious(folder: Path) -> dict[str, bytes]:
    """Pickles that make a file in a folder, each in its own way."""
    command = f"touch {folder}/executed"
    line = f"(S'{command}'\n"
    return {
        "os.system": pickle.dumps(Calling(os.system, command), protocol=2),
        "exec": pickle.dumps(Calling(exec, f"import os; os.mkdir({str(folder / 'made')!r})"), protocol=2),
        "INST": f"{line}ios\nsystem\n.".encode(),
        "OBJ": f"(cos\nsystem\nS'{command}'\no.".encode(),
        "STACK_GLOBAL": pickle.dumps(Calling(os.system, command), protocol=4),
        "NEWOBJ": b"\x80\x02cos\nsystem\n)\x81.",
        "EXT1": b"\x80\x02\x82\x01.",
        "inside": pickle.dumps({"config": [1, Calling(os.system, command)]}, protocol=2),
        "attribute of a function": b"\x80\x02chouse\nBox\n}X\x01\x00\x00\x00aK\x01sb.",
        "name with a dot": b"\x80\x02cos\npath.join\n.",
        "call of data": b"\x80\x02K\x01)R.",
    }


@pytest.mark.parametrize("kind", sorted(malicious(Path())))
def test_malicious_pickles_are_refused_before_anything_happens(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing was executed"):
        read(malicious(tmp_path)[kind])
    assert not list(tmp_path.iterdir())


def test_the_pickles_are_malicious_indeed(tmp_path: Path) -> None:
    for kind in ("os.system", "exec", "INST", "OBJ", "STACK_GLOBAL", "inside"):
        pickle.loads(malicious(tmp_path)[kind])
        (found,) = tmp_path.iterdir()
        found.rmdir() if found.is_dir() else found.unlink()


def test_names_are_named_in_refusals() -> None:
    for data, name in ((b"\x80\x02cos\nsystem\n.", "os.system"), (b"\x80\x02chouse\nCar\n.", "house.Car")):
        with pytest.raises(ValueError, match=f"the pickle names {name}, which is not among what may be read"):
            read(data)


def test_a_container_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="holds itself"):
        read(pickle.dumps(loop, protocol=2))


def test_depth_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="malformed"):
        read(b"\x80\x02" + b"]" + b"]" * 100_000 + b"a" * 100_000 + b".")


@given(plain, st.data())
def test_what_is_cut_off_or_damaged_is_refused_or_read(value: Any, data: st.DataObject) -> None:
    whole = pickle.dumps({"value": value}, protocol=2)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match="the pickle"):
        read(whole[:cut])
    place, byte = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
    read_or_refuse(whole[:place] + bytes([byte]) + whole[place + 1 :])


def test_every_instruction_is_known_or_refused() -> None:
    for opcode in pickletools.opcodes:
        read_or_refuse(b"\x80\x02" + b"]" * 3 + opcode.code.encode("latin1") + b"\x00" * 16 + b".")
