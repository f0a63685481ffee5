"""A kernel that can be called by its address, for tests of what shares it over threads."""

from __future__ import annotations

import numpy as np
from numba import carray, cfunc

from tpnumba.backends.cpu.runtime.atomics import add, load, pause, store
from tpnumba.backends.cpu.runtime.threads import NativeJob
from tpnumba.backends.cpu.runtime.workspace import address_of

#: Words of the table: its own address, that of the result, one word a sample; numbers of the tile; rounds of a sample;
#: how many chunks must have been started before the first goes on, and how many before the second does; started chunks.
SELF, RESULT, TILE, ROUNDS, FIRST_WAITS, SECOND_WAITS, STARTED = range(7)
#: Looks at that, after which a test goes wrong rather than on for ever: some seconds.
_LOOKS = 10**8


@cfunc("void(voidptr, CPointer(int64), int64, int64)")
def kernel(tile, table, start, stop):
    """Add 1 to the result of each sample, or 1000 if somebody else wrote to the tile."""
    started = table[SELF] + 8 * STARTED
    number = add(started, 1)
    until = table[FIRST_WAITS] if number == 0 else table[SECOND_WAITS] if number == 1 else 0
    looks = 0
    while load(started) < until and looks < _LOOKS:
        pause()
        looks += 1
    numbers = carray(tile, (table[TILE],), np.float64)
    for sample in range(start, stop):
        for _ in range(table[ROUNDS]):
            for i in range(numbers.size):
                numbers[i] += sample
            for i in range(numbers.size):
                numbers[i] = sample
        wrong = looks == _LOOKS
        for i in range(numbers.size):
            wrong |= numbers[i] != sample
        place = table[RESULT] + 8 * sample
        store(place, load(place) + (1000 if wrong else 1))


class Counted:
    """A native job that counts, in ``result``, how often each sample was done."""

    def __init__(self, count, chunk, *, tile=64, rounds=1, first_waits=0, second_waits=0, cuts=None):
        self.result = np.zeros(count, dtype=np.int64)
        self.table = np.array([0, address_of(self.result), tile, rounds, first_waits, second_waits, 0], dtype=np.int64)
        self.table[SELF] = address_of(self.table)
        self._cuts = None if cuts is None else np.asarray(cuts, dtype=np.int64)
        self._chunk, self._tile_bytes = chunk, 8 * tile
        self.chunks = -(-count // chunk) if cuts is None else len(cuts) - 1

    def job(self, *, wakes=True):
        """To be shared once."""
        cuts = 0 if self._cuts is None else address_of(self._cuts)
        kept = self.result, self.table, self._cuts
        sizes = self._chunk, self.result.size, self.chunks, self._tile_bytes
        return NativeJob(kernel.address, address_of(self.table), *sizes, cuts, wakes, kept)
