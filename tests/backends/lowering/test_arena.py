"""Places in a tile: nothing that is in use overlaps, and what was released is used again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tpnumba.backends.lowering.arena import Arena


@given(
    begin=st.integers(0, 9), steps=st.lists(st.tuples(st.integers(1, 20), st.booleans()), max_size=40), data=st.data()
)
def test_arrays_in_use_do_not_overlap(begin, steps, data):
    arena = Arena(begin)
    in_use: dict[int, int] = {}
    for size, releases in steps:
        if releases and in_use:
            start = data.draw(st.sampled_from(sorted(in_use)))
            arena.release(start)
            del in_use[start]
        start = arena.allocate(size)
        assert begin <= start
        assert start + size <= arena.end
        assert all(start + size <= other or other + room <= start for other, room in in_use.items())
        in_use[start] = size
    for start in in_use:
        arena.release(start)
    # All pieces are one again.
    end = arena.end
    assert arena.allocate(max(end - begin, 1)) == begin
    assert arena.end == max(end, begin + 1)


@given(st.lists(st.integers(0, 20)))
def test_without_releases_arrays_follow_each_other(sizes):
    arena = Arena()
    starts = [arena.allocate(size) for size in sizes]
    assert [*starts, arena.end] == [sum(sizes[:number]) for number in range(len(sizes) + 1)]


def test_only_what_was_allocated_is_released():
    arena = Arena(4)
    arena.release(0)
    assert arena.allocate(3) == 4
    arena.release(4)
    arena.release(4)
    assert [arena.allocate(3), arena.allocate(3)] == [4, 7]
