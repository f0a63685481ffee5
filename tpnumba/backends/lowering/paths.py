"""How a kernel sees a path: which operands are multiplied, what they are summed into, and what weights do to it."""

from __future__ import annotations

from math import prod

from tpnumba.plans.access import Access
from tpnumba.plans.base import Operand, Segment
from tpnumba.plans.contraction import PAIR, Contraction, Path, channel_extents


def weights_of(path: Path) -> int | None:
    """The operand without components that takes part in a path."""
    return next((i for i, leg in enumerate(path.legs) if leg is None and path.segments[i] is not None), None)


def components_of(path: Path) -> list[int]:
    """The operands with components, in order; the last is the one that the others' products are summed into."""
    return [i for i, leg in enumerate(path.legs) if leg is not None]


def are_paths_supported(plan: Contraction) -> bool:
    """Whether all paths have three operands with components, and at most one without: what kernels evaluate."""
    return all(
        sum(leg is not None for leg in path.legs) == 3 and sum(leg is None for leg in path.legs) <= 1
        for path in plan.paths
    )


def mixes(path: Path) -> bool:
    """Whether weights mix the channels of the third operand (uvw, uuw, u<vw): it has one channel letter, theirs too.

    Then products are formed without weights, for all other channels, and a matrix of weights follows or goes before.
    """
    weight = weights_of(path)
    if weight is None:
        return False
    letters = path.letters(weight)
    others = {letter for i in components_of(path)[:2] for letter in path.letters(i)}
    mixed = path.letters(components_of(path)[2]) == letters[-1:] and letters[-1] not in others
    if PAIR in letters:
        others = {PAIR}
    return mixed and list(letters[:-1]) == sorted(others)


def mixed_letters(path: Path) -> tuple[str, ...]:
    """The channel letters that weights mix over, which do not run through the combinations of a kernel."""
    return path.letters(components_of(path)[2]) if mixes(path) else ()


def compact_weights(plan: Contraction) -> int | None:
    """The weights that stand in a tile as they are, a number and not a column each: one row for all that only mixes."""
    found = {weights_of(path) for path in plan.paths} - {None}
    if len(found) != 1 or not all(mixes(path) for path in plan.paths if weights_of(path) is not None):
        return None
    (weight,) = found
    assert weight is not None
    return weight if plan.operands[weight].access == Access.SHARED and weight != plan.output else None


def scratch_size(path: Path, plan: Contraction) -> int:
    """Columns needed beside the operands: products before weights mix them, or the matrix of a precontraction."""
    left, right, third = components_of(path)
    shape = path.coupling.shape
    size = shape[leg_of(path, third)]
    if mixes(path):
        weight = weights_of(path)
        assert weight is not None
        extents = channel_extents(path, plan.operands)
        return prod(extents[letter] for letter in path.letters(weight)[:-1]) * size
    return size * max(shape[leg_of(path, left)], shape[leg_of(path, right)])


def group_paths(plan: Contraction) -> list[list[Path]]:
    """Paths that share both factors and their channels: their products are formed once. Those that mix stay apart."""
    output = plan.output
    gathered: dict[object, list[Path]] = {}
    for number, path in enumerate(plan.paths):
        segments = [plan.operands[i].segments[place] for i, place in enumerate(path.segments) if place is not None]
        if path.segments[output] is None or path.scale == 0 or any(s.mul == 0 for s in segments):
            continue
        left, right, _ = components_of(path)
        ranges = tuple(sorted(channel_extents(path, plan.operands).items()))
        key = (path.segments[left], path.segments[right], path.channels, ranges, path.legs)
        alone = output in (left, right) and (len(segments) > 3 or any(s.mul > 1 for s in segments))
        gathered.setdefault((key, number if mixes(path) else path if alone else None), []).append(path)
    return list(gathered.values())


def merge_groups(plan: Contraction, groups: list[list[Path]], most_products: int) -> list[list[Path]]:
    """Groups that share segments of the operand that products are summed into, as one.

    So that each component of it is one sum, and products of different segments may be put together. Only groups
    without weights and with one channel everywhere, and as long as the products of one group stay below
    ``most_products``.
    """
    merged: list[list[Path]] = []
    where: dict[int, int] = {}
    products = [0] * len(groups)
    for paths in groups:
        if weights_of(paths[0]) is not None or any(n != 1 for n in channel_extents(paths[0], plan.operands).values()):
            merged.append(paths)
            continue
        left, right, third = components_of(paths[0])
        shape, legs = paths[0].coupling.shape, [leg_of(paths[0], i) for i in (left, right)]
        count = shape[legs[0]] * shape[legs[1]]
        shared = {where[segment] for path in paths if (segment := segment_of(path, third)) in where}
        if len(shared) == 1 and products[to := shared.pop()] + count <= most_products:
            merged[to] = [*merged[to], *paths]
        else:
            to = len(merged)
            merged.append(paths)
        products[to] += count
        where.update((segment_of(path, third), to) for path in paths)
    return merged


def leg_of(path: Path, operand: int) -> int:
    """The leg of the coupling that carries the components of an operand."""
    leg = path.legs[operand]
    assert leg is not None
    return leg


def segment_of(path: Path, operand: int) -> int:
    """The segment of an operand that takes part in a path."""
    place = path.segments[operand]
    assert place is not None
    return place


def steps_of(operand: Operand, segment: Segment) -> tuple[int, int]:
    """The numbers from one channel of a segment to the next, and from one component to the next."""
    return (segment.dim, 1) if operand.layout == "mul_ir" else (1, segment.mul)
