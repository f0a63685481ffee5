"""How native jobs pass from thread to thread: the board, which all threads read and write without a lock.

A caller puts its job into a *slot* of the board, so many other threads may join it, and everyone in it takes the number
of the next chunk until there is none. The board outlives all jobs, so a thread that comes late finds a slot that is
closed, and never memory that is gone. Nobody waits for a thread that has not joined.
"""

from __future__ import annotations

from tpnumba.backends.cpu.runtime.atomics import (
    WORD_BYTES,
    add,
    exchange,
    give_way,
    keep_bits,
    load,
    nanoseconds,
    pause,
    run_kernel,
    store,
)
from tpnumba.backends.cpu.runtime.compiler import jit, part

#: Words of a line of the caches; what different threads write stands on lines of their own.
_LINE = 8
#: Words of the board: the addresses of the clock and of what gives way, and whether workers are to leave for good; how
#: often they were called away; how many look at the board; when there was last something to do; of each slot the number
#: of its owner, 0 if it is free; and the slots.
CLOCK, WAY, CLOSED = range(3)
CALLS, LOOKING, LAST, OWNERS, _SLOTS = _LINE, 2 * _LINE, 3 * _LINE, 4 * _LINE, 5 * _LINE
#: Jobs that are shared at a time; what comes beyond is done by its caller alone.
SLOTS = _LINE
#: Words of a slot: who is in it, and how many may come; the job; on a line of its own, the number of the next chunk.
_STATE, _FUNCTION, _TABLE, _CHUNK, _COUNT, _CHUNKS, _TILE_BYTES, _CUTS, _NEXT = range(9)
_SLOT_WORDS = 2 * _LINE
BOARD_WORDS = _SLOTS + SLOTS * _SLOT_WORDS
#: The state of a slot counts threads that joined in its low bits, and by this number those that may.
_PLACE = 1 << 16

#: Nanoseconds for which a worker looks for the next job before it sleeps.
LOOK = 100_000
#: After so many a caller returns to Python between two chunks, which answers Ctrl-C there.
TURN = 1_000_000
#: A caller looks for so many whether the others are done, and then sleeps, which takes about as long: one of them may
#: be waiting for its core.
PATIENCE = 100_000
#: Looks between two at the clock, at which whoever waits for the core is given way.
_LOOKS = 16
_NEVER = 1 << 62

#: What a caller is told; more than zero is how many workers are to be woken.
DONE, FULL, MORE, WAIT = 0, -1, -2, -3
#: What a worker is told; more than zero is the bytes of the tile it needs.
CALLED, NOTHING = 0, -1


@part
def _word(address, number):
    return address + number * WORD_BYTES


@part
def _slot(board, i):
    return _word(board, _SLOTS + i * _SLOT_WORDS)


@part
def _slot_of(board, owner):
    """The number of the slot of an owner; of 0, a free one. -1 if there is none."""
    for i in range(SLOTS):
        if load(_word(board, OWNERS + i)) == owner:
            return i
    return -1


@part
def _run_chunk(function, table, chunk, count, cuts, tile, i):
    if cuts == 0:
        run_kernel(function, tile, table, i * chunk, min(count, (i + 1) * chunk))
    else:
        run_kernel(function, tile, table, load(_word(cuts, i)), load(_word(cuts, i + 1)))


@part
def _do_chunks(slot, tile, clock, until):
    """Do chunks of the job in the slot; whether there is none left, rather than no time."""
    function, table = load(_word(slot, _FUNCTION)), load(_word(slot, _TABLE))
    chunk, count, cuts = load(_word(slot, _CHUNK)), load(_word(slot, _COUNT)), load(_word(slot, _CUTS))
    chunks = load(_word(slot, _CHUNKS))
    while True:
        i = add(_word(slot, _NEXT), 1)
        if i >= chunks:
            return True
        _run_chunk(function, table, chunk, count, cuts, tile, i)
        if nanoseconds(clock) >= until:
            return False


@jit
def do_alone(clock, function, table, chunk, count, chunks, tile_bytes, cuts, wakes, tile, first):
    """Do the chunks from ``first`` on for about a millisecond, or one of them without a clock; the next to be done."""
    until = nanoseconds(clock) + TURN if clock != 0 else 0
    for i in range(first, chunks):
        _run_chunk(function, table, chunk, count, cuts, tile, i)
        if clock == 0 or nanoseconds(clock) >= until:
            return i + 1
    return chunks


@jit
def do_shared(board, owner, function, table, chunk, count, chunks, tile_bytes, cuts, wakes, tile, others):
    """Take part in the owner's job, which the first call puts on the board.

    Args:
        board: its address.
        owner: a number for this job, which no other has at the time.
        function, table, chunk, count, chunks, tile_bytes, cuts, wakes: the job.
        tile: the address of the caller's.
        others: threads that may join.

    Returns:
        DONE: nobody is at it any more. Otherwise the owner is to call again, unless there was no slot (FULL): after it
        has woken so many workers; at once (MORE); after a while, as others are still at it (WAIT).
    """
    clock = load(_word(board, CLOCK))
    now = nanoseconds(clock)
    i = _slot_of(board, owner)
    if i < 0:
        i = _slot_of(board, 0)
        if i < 0 or not exchange(_word(board, OWNERS + i), 0, owner):
            return FULL
        slot = _slot(board, i)
        store(_word(slot, _FUNCTION), function)
        store(_word(slot, _TABLE), table)
        store(_word(slot, _CHUNK), chunk)
        store(_word(slot, _COUNT), count)
        store(_word(slot, _CHUNKS), chunks)
        store(_word(slot, _TILE_BYTES), tile_bytes)
        store(_word(slot, _CUTS), cuts)
        store(_word(slot, _NEXT), 0)
        # Who is woken for one of many jobs is there for the next ones.
        wakes |= now - load(_word(board, LAST)) < LOOK
        store(_word(board, LAST), now)
        # First this and then the look, and the other way round with who goes to sleep: one of both sees the other.
        add(_word(slot, _STATE), others * _PLACE)
        asleep = others - load(_word(board, LOOKING))
        if wakes and asleep > 0:
            return asleep
    slot = _slot(board, i)
    if not _do_chunks(slot, tile, clock, now + TURN):
        return MORE
    state = _word(slot, _STATE)
    keep_bits(state, _PLACE - 1)
    looks, until = 0, _NEVER
    while load(state) != 0:
        if looks == 0:
            until = nanoseconds(clock) + PATIENCE
        elif looks % _LOOKS == 0:
            give_way(load(_word(board, WAY)))
            if nanoseconds(clock) > until:
                return WAIT
        pause()
        looks += 1
    store(_word(board, LAST), nanoseconds(clock))
    store(_word(board, OWNERS + i), 0)
    return DONE


@jit
def stop(board, owner):
    """Hand out no more chunks of the owner's job; whether it has one."""
    i = _slot_of(board, owner)
    if i < 0:
        return False
    slot = _slot(board, i)
    store(_word(slot, _NEXT), load(_word(slot, _CHUNKS)))
    return True


@part
def _is_open(slot):
    """Whether a worker may join the job in a slot, and would find a chunk of it."""
    return load(_word(slot, _STATE)) >= _PLACE and load(_word(slot, _NEXT)) < load(_word(slot, _CHUNKS))


@part
def _find_open(board):
    """The number of a slot with a job to join, or ``SLOTS``."""
    i = 0
    while i < SLOTS and not _is_open(_slot(board, i)):
        i += 1
    return i


@part
def _join(board, slot, tile, tile_bytes, clock):
    """Do chunks of the job in a slot, if it may still be joined; the bytes of a larger tile, if it needs that."""
    state = _word(slot, _STATE)
    at_first = load(state)
    wanted = load(_word(slot, _TILE_BYTES))
    if wanted > tile_bytes:
        return wanted
    # Whichever job the slot holds by now, it is not gone before this thread has left it.
    if at_first >= _PLACE and exchange(state, at_first, at_first - _PLACE + 1):
        add(_word(board, LOOKING), -1)
        if load(_word(slot, _TILE_BYTES)) <= tile_bytes:
            _do_chunks(slot, tile, clock, _NEVER)
        store(_word(board, LAST), nanoseconds(clock))
        add(_word(board, LOOKING), 1)
        add(state, -1)
    return 0


@jit
def look_for_jobs(board, calls, tile, tile_bytes):
    """Join what is on the board, as a worker, until there was nothing to do for a while.

    Args:
        board: its address.
        calls: return when this is no longer how often workers were called.
        tile, tile_bytes: address and size of the worker's.

    Returns:
        CALLED away, NOTHING to do, or the bytes of the tile that is needed to go on.
    """
    clock, looking = load(_word(board, CLOCK)), _word(board, LOOKING)
    looks = 0
    add(looking, 1)
    while load(_word(board, CALLS)) == calls:
        found = _find_open(board)
        if found < SLOTS:
            wanted = _join(board, _slot(board, found), tile, tile_bytes, clock)
            if wanted > 0:
                add(looking, -1)
                return wanted
        looks += 1
        if looks % _LOOKS == 0:
            give_way(load(_word(board, WAY)))
            closed = load(_word(board, CLOSED)) != 0
            if closed or nanoseconds(clock) - load(_word(board, LAST)) > LOOK:
                add(looking, -1)
                if closed or _find_open(board) == SLOTS:
                    return NOTHING
                add(looking, 1)
        pause()
    add(looking, -1)
    return CALLED
