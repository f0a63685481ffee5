"""Places of arrays in a stretch of memory, where one that is done with makes room for others."""

from __future__ import annotations


class Arena:
    """Allocates numbers from ``end`` on; those before are the caller's.

    ``end`` grows to the size of all arrays together. Nothing moves: without releases, arrays follow each other.
    """

    def __init__(self, end: int = 0) -> None:
        self.end = end
        self._free: list[tuple[int, int]] = []
        self._in_use: dict[int, int] = {}

    def allocate(self, size: int) -> int:
        """The start of ``size`` numbers that nothing else uses."""
        for number, (start, room) in enumerate(self._free):
            if room >= size:
                self._free[number] = (start + size, room - size)
                self._in_use[start] = size
                return start
        start = self.end
        self.end += size
        self._in_use[start] = size
        return start

    def release(self, start: int) -> None:
        """Let others use the numbers allocated there; what was not allocated here stays as it is."""
        if start not in self._in_use:
            return
        free = sorted([*self._free, (start, self._in_use.pop(start))])
        self._free = [free[0]]
        for begin, room in free[1:]:
            last, size = self._free[-1]
            if last + size == begin:
                self._free[-1] = (last, size + room)
            else:
                self._free.append((begin, room))
