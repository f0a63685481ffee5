"""What a kernel is made from: a form or harmonics, as a text that is the same in every process."""

from __future__ import annotations

import hashlib
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache
from pathlib import Path as File
from typing import Protocol

from tpnumba.inline.emitter import Emitter
from tpnumba.inline.harmonics import check_degrees, emit_harmonics
from tpnumba.inline.program import Program, program_of
from tpnumba.inline.walk import emit_program
from tpnumba.plans.access import Access
from tpnumba.plans.base import Operand, Segment
from tpnumba.plans.contraction import Contraction, Coupling, Path


class Recipe(Protocol):
    """What can be written down for one sample."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the arguments, the result last."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each argument has."""

    @property
    def text(self) -> str:
        """All that the code depends on, as a Python literal."""

    @property
    def described(self) -> str:
        """For messages and ``repr``."""

    def check(self, dtype: str) -> None:
        """Raise ``ValueError`` where there is no kernel."""

    def emit(self, emit: Emitter) -> None:
        """Write the code."""


@dataclass(frozen=True)
class ProductRecipe:
    """A form, its output, and the operand that each argument stands for."""

    form: Contraction
    argument_operands: tuple[int, ...]

    @cached_property
    def program(self) -> Program:
        """Loops and sums of products."""
        return program_of(self.form, self.argument_operands)

    @property
    def names(self) -> tuple[str, ...]:
        """``x1``, ``x2``, ``weights`` if there are any, ``out``."""
        return (*("x1", "x2", "weights")[: len(self.argument_operands)], "out")

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each argument has."""
        return self.program.sizes

    @cached_property
    def text(self) -> str:
        """The form as nested tuples."""
        operands = [(o.name, tuple(map(astuple, o.segments)), str(o.access), o.layout) for o in self.form.operands]
        return repr((operands, self.form.output, [astuple(path) for path in self.form.paths], self.argument_operands))

    @classmethod
    def of_text(cls, text: str) -> ProductRecipe:
        """The inverse of :attr:`text`."""
        operands, output, paths, argument_operands = literal_eval(text)
        form = Contraction(
            tuple(
                Operand(name, tuple(Segment(*segment) for segment in segments), Access(access), layout)
                for name, segments, access, layout in operands
            ),
            output,
            tuple(Path(places, channels, Coupling(*c), legs, scale) for places, channels, c, legs, scale in paths),
        )
        return cls(form, argument_operands)

    @property
    def described(self) -> str:
        """How many terms there are, and how many of them are loops over tables."""
        nests = self.program.nests
        in_tables = sum(nest.entries for nest in nests if not nest.is_straight)
        return f"{self.program.entries:,} terms" + (f", {in_tables:,} of them in tables" if in_tables else "")

    def check(self, dtype: str) -> None:  # noqa: ARG002
        """Raise ``ValueError`` where there are too many terms."""
        assert self.program

    def emit(self, emit: Emitter) -> None:
        """Write the code."""
        emit_program(emit, self.program)


@dataclass(frozen=True)
class HarmonicsRecipe:
    """Harmonics of degrees 0 to ``lmax``; as for :class:`tpnumba.SphericalHarmonics`."""

    lmax: int
    normalization: str
    normalize: bool

    @property
    def names(self) -> tuple[str, ...]:
        """``point``, ``out``."""
        return "point", "out"

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each argument has."""
        return 3, (self.lmax + 1) ** 2

    @property
    def text(self) -> str:
        """Degree, normalisation, and whether directions are taken."""
        return repr((self.lmax, self.normalization, self.normalize))

    @classmethod
    def of_text(cls, text: str) -> HarmonicsRecipe:
        """The inverse of :attr:`text`."""
        return cls(*literal_eval(text))

    @property
    def described(self) -> str:
        """The degree and the normalisation."""
        return f"harmonics to degree {self.lmax}, {self.normalization}"

    def check(self, dtype: str) -> None:
        """Raise ``ValueError`` above the degrees that there are kernels for."""
        check_degrees(self.lmax, dtype)

    def emit(self, emit: Emitter) -> None:
        """Write the code."""
        emit_harmonics(emit, self.lmax, self.normalization, normalize=self.normalize)


KINDS: dict[str, type[ProductRecipe] | type[HarmonicsRecipe]] = {
    "product": ProductRecipe,
    "harmonics": HarmonicsRecipe,
}


def kind_of(recipe: Recipe) -> str:
    """The name of the kind of a recipe."""
    (kind,) = (name for name, own in KINDS.items() if isinstance(recipe, own))
    return kind


def digest(recipe: Recipe, dtype: str) -> str:
    """What tells kernels apart: of the recipe, the dtype, and the sources that write the code."""
    parts = _sources(), kind_of(recipe), dtype, recipe.text
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@lru_cache(maxsize=1)
def _sources() -> str:
    """A hash of the files of this folder, and of the tables that code is made from."""
    found = hashlib.sha256()
    for path in _files():
        found.update(path.read_bytes())
    return found.hexdigest()


def _files() -> Iterator[File]:
    here = File(__file__).parent
    for folder in (here, here.parent / "tables"):
        yield from sorted(folder.glob("*.py"))
