"""Irreducible representations of O(3) and their direct sums: grammar, order, slices, selection rules.

The grammar, the order and the methods are those of ``e3nn.o3``; no arrays live here.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, SupportsIndex, Union, overload

IrrepLike = Union["Irrep", str, tuple[int, int]]
IrrepsLike = Union["Irreps", "Irrep", str, Iterable[Any]]

_IRREP = re.compile(r"\s*(\d+)\s*([eoy])\s*", re.ASCII)
_BLOCK = re.compile(r"\s*(?:(\d+)\s*x)?(\s*\d+\s*[eoy]\s*)", re.ASCII)


def _is_int(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def check_degree(name: str, value: Any) -> int:
    """Return ``value`` as a Python int, or raise an error that names the argument.

    Raises:
        TypeError: ``value`` is not an integer.
        ValueError: ``value`` is negative.
    """
    if not _is_int(value):
        raise TypeError(f"{name} must be a non-negative integer, got {value!r} of type {type(value).__name__}")
    degree = int(value.__index__())
    if degree < 0:
        raise ValueError(f"{name} must be a non-negative integer, got {degree}")
    return degree


def _check_parity(name: str, value: Any) -> int:
    if not _is_int(value) or value not in (-1, 1):
        raise ValueError(f"{name} must be +1 or -1, got {value!r}")
    return int(value)


class _Unsearchable:
    """Mixin for tuples in which looking for an item would mislead."""

    __slots__ = ()

    def count(self, _: object, /) -> int:
        """Not defined here; see :meth:`Irreps.count`."""
        raise NotImplementedError(f"{type(self).__name__} has no count; use irreps.count(ir)")

    def index(self, *_: object) -> int:
        """Not defined: blocks may repeat. Use :meth:`Irreps.slices`."""
        raise NotImplementedError(f"{type(self).__name__} has no index, as blocks may repeat; use irreps.slices()")


class Irrep(_Unsearchable, tuple[int, int]):
    """An irreducible representation of O(3): degree ``l`` and parity ``p`` (+1 even, -1 odd).

    Args:
        l: a string such as ``"1o"``, ``"2e"`` or ``"3y"`` (``y``: the parity of spherical harmonics), an
            ``Irrep``, a pair ``(l, p)``, or the degree when ``p`` is given as well.
        p: the parity, +1 or -1.

    Irreps are ordered by degree, then odd before even, as in e3nn.

    Raises:
        ValueError: the string is malformed, the degree is negative, the parity is not +-1.
        TypeError: the degree is not an integer.

    Example:
        >>> Irrep("1o").dim, Irrep(2, 1), list(Irrep("1o") * Irrep("1o"))
        (3, 2e, [0e, 1e, 2e])
    """

    __slots__ = ()

    def __new__(cls, l: IrrepLike | int, p: int | None = None) -> Irrep:  # noqa: D102, E741
        if p is None:
            if isinstance(l, Irrep):
                return l
            if isinstance(l, str):
                match = _IRREP.fullmatch(l)
                if match is None:
                    raise ValueError(f'irrep must look like "1o" or "2e", got {l!r}')
                degree = int(match[1])
                return tuple.__new__(cls, (degree, {"e": 1, "o": -1, "y": (-1) ** degree}[match[2]]))
            if isinstance(l, tuple) and len(l) == 2:
                return cls(l[0], l[1])
            raise TypeError(f'irrep must be a string such as "1o", an Irrep or a pair (l, p), got {l!r}')
        degree = check_degree("the degree of an irrep", l)
        return tuple.__new__(cls, (degree, _check_parity("the parity of an irrep", p)))

    def __getnewargs__(self) -> tuple[int, int]:
        return self.l, self.p

    @property
    def l(self) -> int:  # noqa: E743
        """The degree."""
        return self[0]

    @property
    def p(self) -> int:
        """The parity: +1 (even) or -1 (odd)."""
        return self[1]

    @property
    def dim(self) -> int:
        """The dimension, ``2 l + 1``."""
        return 2 * self.l + 1

    def is_scalar(self) -> bool:
        """Whether this is the trivial representation ``0e``."""
        return self.l == 0 and self.p == 1

    @classmethod
    def iterator(cls, lmax: int | None = None) -> Iterator[Irrep]:
        """Iterate over all irreps as e3nn does: ``0e 0o 1o 1e 2e 2o ...``, up to ``lmax`` if it is given."""
        for degree in itertools.count():
            if lmax is not None and degree > lmax:
                return
            natural = (-1) ** degree
            yield cls(degree, natural)
            yield cls(degree, -natural)

    def __repr__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'}"

    __str__ = __repr__

    def __mul__(self, other: Any) -> Iterator[Irrep]:  # type: ignore[override]
        """Iterate over the irreps of the tensor product: ``|l1 - l2| <= l <= l1 + l2``, ``p = p1 p2``."""
        other = Irrep(other)
        parity = self.p * other.p
        return (Irrep(degree, parity) for degree in range(abs(self.l - other.l), self.l + other.l + 1))

    def __rmul__(self, other: SupportsIndex) -> Irreps:  # type: ignore[override]
        """``3 * Irrep("1o")`` is ``Irreps("3x1o")``."""
        return Irreps([(other, self)])

    def __add__(self, other: Any) -> Irreps:  # type: ignore[override]
        return Irreps(self) + Irreps(other)

    def __contains__(self, _: object) -> bool:
        raise NotImplementedError("an Irrep contains nothing; use `ir in irreps`")


class MulIrrep(_Unsearchable, tuple[int, Irrep]):
    """``mul`` copies of an irrep: one block of :class:`Irreps`."""

    __slots__ = ()

    def __new__(cls, mul: int, ir: IrrepLike) -> MulIrrep:  # noqa: D102
        return tuple.__new__(cls, (check_degree("a multiplicity", mul), Irrep(ir)))

    def __getnewargs__(self) -> tuple[int, Irrep]:
        return self.mul, self.ir

    @property
    def mul(self) -> int:
        """The multiplicity."""
        return self[0]

    @property
    def ir(self) -> Irrep:
        """The irrep."""
        return self[1]

    @property
    def dim(self) -> int:
        """``mul * ir.dim``."""
        return self.mul * self.ir.dim

    def __repr__(self) -> str:
        return f"{self.mul}x{self.ir}"

    __str__ = __repr__


class SortedIrreps(NamedTuple):
    """What :meth:`Irreps.sort` returns."""

    irreps: Irreps
    #: ``p[i]`` is the new place of block ``i``.
    p: tuple[int, ...]
    #: ``inv[k]`` is the old place of block ``k``.
    inv: tuple[int, ...]


def _parse(text: str) -> Iterator[MulIrrep]:
    if not text.strip():
        return
    start = 0
    for term in text.split("+"):
        match = _BLOCK.fullmatch(term)
        if match is None:
            place = start + len(term) - len(term.lstrip())
            raise ValueError(
                f'irreps must look like "8x0e + 4x1o"; {term.strip()!r} at position {place} does not:\n'
                f"    {text}\n    {' ' * place}^"
            )
        yield MulIrrep(int(match[1] or 1), match[2])
        start += len(term) + 1


def _block(item: Any) -> MulIrrep:
    if isinstance(item, MulIrrep):
        return item
    if isinstance(item, Irrep | str):
        return MulIrrep(1, item)
    if isinstance(item, tuple | list) and len(item) == 2 and not isinstance(item[1], int):
        return MulIrrep(item[0], item[1])
    raise TypeError(f'irreps must be made of pairs (mul, ir), Irrep or strings such as "1o", got the item {item!r}')


def _blocks(irreps: IrrepsLike) -> Iterable[MulIrrep]:
    if isinstance(irreps, str):
        return _parse(irreps)
    if isinstance(irreps, Irrep | MulIrrep):
        return (_block(irreps),)
    if isinstance(irreps, Iterable):
        return map(_block, irreps)
    raise TypeError(f'irreps must be a string such as "8x0e + 4x1o" or a list of pairs (mul, ir), got {irreps!r}')


class Irreps(_Unsearchable, tuple[MulIrrep, ...]):
    """A direct sum of irreps of O(3) with multiplicities, such as ``8x0e + 4x1o``.

    Args:
        irreps: a string in e3nn's grammar, an ``Irrep``, ``Irreps``, or a list of pairs ``(mul, ir)``.

    Frozen, hashable, picklable; ``Irreps(str(irreps)) == irreps``.

    Raises:
        ValueError: a malformed string (the place is shown) or a negative multiplicity or degree.
        TypeError: anything else that cannot be read as irreps.

    Example:
        >>> irreps = Irreps("8x0e + 4x1o")
        >>> irreps.dim, irreps.slices(), irreps.sort().irreps
        (20, [slice(0, 8, None), slice(8, 20, None)], 8x0e+4x1o)
    """

    __slots__ = ()

    def __new__(cls, irreps: IrrepsLike = ()) -> Irreps:  # noqa: D102
        if isinstance(irreps, Irreps):
            return irreps
        return tuple.__new__(cls, _blocks(irreps))

    def __getnewargs__(self) -> tuple[tuple[MulIrrep, ...]]:
        return (tuple(self),)

    @staticmethod
    def spherical_harmonics(lmax: int, p: int = -1) -> Irreps:
        """The irreps of the spherical harmonics of degrees 0 to ``lmax``; degree l has parity ``p**l``.

        Example:
            >>> Irreps.spherical_harmonics(2)
            1x0e+1x1o+1x2e
        """
        lmax, p = check_degree("lmax", lmax), _check_parity("p", p)
        return Irreps([(1, Irrep(degree, p**degree)) for degree in range(lmax + 1)])

    def slices(self) -> list[slice]:
        """The slice of each block in an array of shape ``(..., dim)``."""
        ends = list(itertools.accumulate((block.dim for block in self), initial=0))
        return [slice(a, b) for a, b in itertools.pairwise(ends)]

    @property
    def dim(self) -> int:
        """The total dimension."""
        return sum(block.dim for block in self)

    @property
    def num_irreps(self) -> int:
        """The sum of the multiplicities."""
        return sum(block.mul for block in self)

    @property
    def ls(self) -> list[int]:
        """The degree of each copy, in order."""
        return [block.ir.l for block in self for _ in range(block.mul)]

    @property
    def lmax(self) -> int:
        """The largest degree.

        Raises:
            ValueError: there is no irrep.
        """
        highest = max((block.ir.l for block in self if block.mul > 0), default=None)
        if highest is None:
            raise ValueError("lmax is not defined for empty irreps")
        return highest

    def count(self, ir: IrrepLike, /) -> int:  # type: ignore[override]
        """The multiplicity of ``ir``, summed over the blocks."""
        ir = Irrep(ir)
        return sum(block.mul for block in self if block.ir == ir)

    def __contains__(self, ir: object) -> bool:
        ir = Irrep(ir)  # type: ignore[arg-type]
        return any(block.ir == ir and block.mul > 0 for block in self)

    def remove_zero_multiplicities(self) -> Irreps:
        """The irreps without the blocks of multiplicity 0."""
        return Irreps([block for block in self if block.mul > 0])

    def simplify(self) -> Irreps:
        """Merge neighbouring blocks of the same irrep and drop empty ones; the memory order stays.

        Example:
            >>> Irreps("1e + 1e + 0e").simplify(), Irreps("1e + 0e + 1e").simplify()
            (2x1e+1x0e, 1x1e+1x0e+1x1e)
        """
        merged: list[tuple[int, Irrep]] = []
        for block in self.remove_zero_multiplicities():
            if merged and merged[-1][1] == block.ir:
                merged[-1] = (merged[-1][0] + block.mul, block.ir)
            else:
                merged.append((block.mul, block.ir))
        return Irreps(merged)

    def sort(self) -> SortedIrreps:
        """A stable sort by irrep: ``(irreps, p, inv)`` with ``p`` the new place of each block and ``inv`` its inverse.

        Example:
            >>> Irreps("1e + 0e + 1o").sort()
            SortedIrreps(irreps=1x0e+1x1o+1x1e, p=(2, 0, 1), inv=(1, 2, 0))
        """
        inv = tuple(sorted(range(len(self)), key=lambda i: self[i].ir))
        places = {old: new for new, old in enumerate(inv)}
        return SortedIrreps(Irreps([self[i] for i in inv]), tuple(places[i] for i in range(len(self))), inv)

    def regroup(self) -> Irreps:
        """Sort, then simplify."""
        return self.sort().irreps.simplify()

    def filter(
        self,
        keep: IrrepsLike | Callable[[MulIrrep], bool] | None = None,
        *,
        drop: IrrepsLike | Callable[[MulIrrep], bool] | None = None,
        lmax: int | None = None,
    ) -> Irreps:
        """Keep or drop blocks by irrep, by a predicate of the block, or by degree.

        Raises:
            ValueError: both ``keep`` and ``drop`` are given.

        Example:
            >>> Irreps("1e + 2e + 0e").filter(keep="0e + 1e"), Irreps("1e + 2e + 0e").filter(lmax=1)
            (1x1e+1x0e, 1x1e+1x0e)
        """
        if keep is not None and drop is not None:
            raise ValueError("filter takes keep or drop, not both")

        rule = keep if drop is None else drop
        if callable(rule):
            hits = [bool(rule(block)) for block in self]
        else:
            wanted = {block.ir for block in Irreps(self if rule is None else rule)}
            hits = [block.ir in wanted for block in self]
        blocks = [block for block, hit in zip(self, hits, strict=True) if hit is (drop is None)]
        if lmax is not None:
            highest = check_degree("lmax", lmax)
            blocks = [block for block in blocks if block.ir.l <= highest]
        return Irreps(blocks)

    @overload
    def __getitem__(self, i: SupportsIndex) -> MulIrrep: ...
    @overload
    def __getitem__(self, i: slice) -> Irreps: ...
    def __getitem__(self, i: SupportsIndex | slice) -> MulIrrep | Irreps:
        picked = super().__getitem__(i)
        return Irreps(picked) if isinstance(i, slice) else picked  # type: ignore[return-value]

    def __add__(self, other: Any) -> Irreps:
        return Irreps((*self, *Irreps(other)))

    def __radd__(self, other: Any) -> Irreps:
        return Irreps(other) + self

    def __mul__(self, other: SupportsIndex) -> Irreps:
        """``Irreps("0e + 1o") * 2`` repeats the blocks, as a tuple would."""
        if isinstance(other, Irreps):
            raise NotImplementedError("irreps times irreps: use FullTensorProduct(irreps1, irreps2).irreps_out")
        return Irreps(super().__mul__(check_degree("the number of repetitions", other)))

    def __rmul__(self, other: SupportsIndex) -> Irreps:
        return self * other

    def __repr__(self) -> str:
        return "+".join(str(block) for block in self)

    __str__ = __repr__
