"""What the benchmark is told, what it times, and what it says of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

from tpnumba.products import SPHERE_PRODUCTS
from tpnumba.studies.benchmark.paper import METHODS as PAPER_METHODS
from tpnumba.studies.compare import Row
from tpnumba.studies.registry import CONFIGURATIONS, PRODUCTS, Case

COMPLETE = "Clebsch-Gordan"
#: The products of the registry by the names that options have for them.
NAMES: Mapping[str, str] = {
    "clebsch-gordan": COMPLETE,
    **{variant.key: variant.title for product in SPHERE_PRODUCTS for variant in product.VARIANTS},
}
SETTINGS = tuple(configuration.name for configuration in CONFIGURATIONS)
#: The complete product by dense coefficients; a yardstick, and no method that the operator has.
DENSE = "dense"
PAPER = " (paper)"


@dataclass(frozen=True)
class Options:
    """What is timed and how; two runs with equal options time the same.

    Attributes:
        products: keys of :data:`NAMES`.
        settings: names of configurations.
        degrees: the L.
        batch, dtype, backend, threads: of the calls; no threads: what the backend takes by itself.
        reference: whether the paper's ways are timed as well.
        repeats: of each time.
    """

    products: tuple[str, ...]
    settings: tuple[str, ...]
    degrees: tuple[int, ...]
    batch: int
    dtype: str
    backend: str
    threads: int | None
    reference: bool
    repeats: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """From what :meth:`as_dict` gave."""
        read: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return cls(**read)


class Key(NamedTuple):
    """What tells rows of a run apart."""

    setting: str
    product: str
    method: str
    lmax: int


@dataclass(frozen=True)
class Subject:
    """One thing to be timed: a case of the registry, or the same product by dense coefficients or the paper's way."""

    case: Case
    method: str

    @property
    def key(self) -> Key:
        """What tells its row from others."""
        return Key(self.case.configuration.name, self.case.contender.product, self.method, self.case.lmax)

    @property
    def is_paper(self) -> bool:
        """Whether it is timed as the paper computes it."""
        return self.method.endswith(PAPER)


def subjects(options: Options) -> list[list[Subject]]:
    """Everything that is timed: those of one setting and one L, which are timed in turns, together."""
    return [list(_subjects(options, setting, lmax)) for setting in options.settings for lmax in sorted(options.degrees)]


def _subjects(options: Options, setting: str, lmax: int) -> Iterator[Subject]:
    (configuration,) = (entry for entry in CONFIGURATIONS if entry.name == setting)
    chosen = {NAMES[name] for name in options.products}
    for product in PRODUCTS:
        if product.name in chosen:
            case = Case(configuration, product.contender("direct"), lmax)
            for method in product.methods:
                yield Subject(Case(configuration, product.contender(method), lmax), method)
            if product.name == COMPLETE:
                yield Subject(case, DENSE)
            for method in PAPER_METHODS.get(product.name, ()) if options.reference else ():
                yield Subject(case, method + PAPER)


@dataclass(frozen=True)
class Measurement(Row):
    """A row of `tpnumba.studies.compare.Row`, and what follows from it; rates are those of the whole batch.

    ``backend`` is the one that evaluated it, also where it was left to ``auto``; ``numpy`` for the paper's ways.
    ``roofline`` is the least time that the machine needs for the operations, or for reading and writing every operand
    once, whichever is more, as a share of the time taken; above 1 where operands stay in the caches. ``output_irreps``
    counts the irreps of the result, one a path in a complete product, and ``seconds_per_irrep`` is what the paper calls
    the normalised time.
    """

    dtype: str
    backend: str
    batch: int
    output_irreps: int
    samples_per_second: float | None
    flops_per_second: float | None
    bytes_per_second: float | None
    roofline: float | None
    seconds_per_irrep: float | None
    seconds_per_degree_of_freedom: float | None

    @property
    def key(self) -> Key:
        """What tells it from other rows of a run."""
        return Key(self.setting, self.product, self.method, self.lmax)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """From what ``as_dict`` gave.

        Raises:
            TypeError: fields that are missing or not known.
        """
        unknown = set(given) ^ {field.name for field in fields(cls)}
        if unknown:
            raise TypeError(f"rows with other fields: {', '.join(sorted(unknown))}")
        return cls(**given)
