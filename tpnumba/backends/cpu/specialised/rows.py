"""Code between rows of memory and columns of a tile, for rows of a length that is known.

A *unit* is 16 bytes of a row: rows are read unit by unit, and written in stretches of one, two or four units. The last
stretch of a row overlaps the one before where the row is no multiple of it. Rows shorter than a unit are turned as a
whole where they follow each other in memory.
"""

from __future__ import annotations

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.specialised.text import Text, Value

#: Bytes of a unit, and how many of them a vector has.
UNIT_BYTES, UNITS = 16, 4


def unit(text: Text) -> int:
    """The numbers of a unit."""
    return UNIT_BYTES // text.item_bytes


def write_load(text: Text, size: int) -> None:
    """The body of a function that puts rows into columns: ``(%columns, %rows, %stride)``, stride in bytes."""
    width = unit(text)
    if size < width:
        rows = text.load("%rows", size * text.count, text.item_bytes)
        for component in range(size):
            column = text.shuffled(rows, "poison", range(component, size * text.count, size), size * text.count)
            text.store(column, text.moved("%columns", component * text.count))
        return
    with text.loop("unit", -(-size // width) * width, width) as begin:
        first = _clipped(text, begin, size - width)
        row = text.moved("%rows", first)
        lanes = []
        for _ in range(text.count):
            lanes.append(text.load(row, width, text.item_bytes))
            row = text.moved_bytes(row, "%stride")
        blocks = [_joined(text, [lanes[width * q + i] for q in range(UNITS)], width) for i in range(width)]
        to = text.moved("%columns", text.value(f"mul i64 {first}, {text.count}"))
        for component, column in enumerate(_turned_in_units(text, blocks)):
            text.store(column, text.moved(to, component * text.count))


def stretch_of(text: Text, size: int) -> int:
    """The numbers of a row that are written at a time; 0 if the row is shorter than a unit."""
    return next((n * unit(text) for n in (4, 2, 1) if n * unit(text) <= size), 0)


def stretches(text: Text, size: int) -> list[int]:
    """The first numbers of the stretches that make a row; 0 alone if the row is shorter than a unit."""
    width = stretch_of(text, size)
    return [min(begin, size - width) for begin in range(0, size, width)] if width else [0]


def write_stretch(text: Text, size: int, *, past_caches: bool = False) -> None:
    """The body of a function that writes a stretch of columns as rows: ``(%columns, %rows, %stride)``, stride in bytes.

    ``past_caches``: rows begin and end with a line.
    """
    width, stretch = unit(text), stretch_of(text, size)
    if not stretch:
        columns = [text.load(text.moved("%columns", component * text.count)) for component in range(size)]
        text.store(_interleaved(text, columns), "%rows", size * text.count, text.item_bytes)
        return
    groups = []
    for start in range(0, stretch, width):
        columns = [text.load(text.moved("%columns", (start + i) * text.count)) for i in range(width)]
        groups.append(_turned_in_units(text, columns))
    row = "%rows"
    for piece in _rows_of(text, groups):
        if past_caches:
            text.say(f"store {text.vector} {piece}, ptr {row}, align {LINE}, !nontemporal !0")
        else:
            text.store(piece, row, stretch, text.item_bytes)
        row = text.moved_bytes(row, "%stride")


def write_copy_past_caches(text: Text, numbers: int) -> None:
    """The body of a function ``(%rows, %to)`` that copies rows, whole lines past the caches."""
    item, count = text.item_bytes, text.count
    address = text.value("ptrtoint ptr %to to i64")
    behind = text.value(f"and i64 {text.value(f'sub i64 0, {address}')}, {LINE - 1}")
    before = text.value(f"udiv i64 {behind}, {item}")
    before = text.value(f"call i64 @llvm.smin.i64(i64 {before}, i64 {numbers})")
    _copy_numbers(text, "head", "%rows", "%to", before)
    source, to = text.moved("%rows", before), text.moved("%to", before)
    left = text.value(f"sub i64 {numbers}, {before}")
    whole = text.value(f"and i64 {left}, {-count}")
    with text.loop("line", whole, count) as i:
        line = text.load(text.moved(source, i), align=item)
        text.say(f"store {text.vector} {line}, ptr {text.moved(to, i)}, align {LINE}, !nontemporal !0")
    rest = text.value(f"sub i64 {left}, {whole}")
    _copy_numbers(text, "tail", text.moved(source, whole), text.moved(to, whole), rest)


def write_gather(text: Text) -> None:
    """The body of ``(%columns, %rows, %row_bytes, %column_bytes, %size, %count)``: any rows, number by number.

    Numbers of samples beyond ``%count`` become zero.
    """
    with text.loop("component", "%size") as component:
        column = text.moved("%columns", text.value(f"mul i64 {component}, {text.count}"))
        text.store("zeroinitializer", column)
        source = text.moved_bytes("%rows", text.value(f"mul i64 {component}, %column_bytes"))
        with text.loop("sample", "%count") as sample:
            place = text.moved_bytes(source, text.value(f"mul i64 {sample}, %row_bytes"))
            number = text.value(f"load {text.scalar}, ptr {place}, align {text.item_bytes}")
            text.say(f"store {text.scalar} {number}, ptr {text.moved(column, sample)}, align {text.item_bytes}")


def write_scatter(text: Text) -> None:
    """The body of ``(%columns, %rows, %row_bytes, %column_bytes, %size, %count)``: any rows, number by number."""
    with text.loop("sample", "%count") as sample:
        row = text.moved_bytes("%rows", text.value(f"mul i64 {sample}, %row_bytes"))
        source = text.moved("%columns", sample)
        with text.loop("component", "%size") as component:
            place = text.moved(source, text.value(f"mul i64 {component}, {text.count}"))
            number = text.value(f"load {text.scalar}, ptr {place}, align {text.item_bytes}")
            to = text.moved_bytes(row, text.value(f"mul i64 {component}, %column_bytes"))
            text.say(f"store {text.scalar} {number}, ptr {to}, align {text.item_bytes}")


def write_spread(text: Text) -> None:
    """The body of ``(%columns, %row, %column_bytes, %size)``: one row for all samples."""
    with text.loop("component", "%size") as component:
        source = text.moved_bytes("%row", text.value(f"mul i64 {component}, %column_bytes"))
        number = text.value(f"load {text.scalar}, ptr {source}, align {text.item_bytes}")
        one = text.value(f"insertelement {text.vector} poison, {text.scalar} {number}, i32 0")
        spread = text.shuffled(one, "poison", [0] * text.count)
        text.store(spread, text.moved("%columns", text.value(f"mul i64 {component}, {text.count}")))


def _copy_numbers(text: Text, name: str, source: Value, to: Value, count: Value) -> None:
    with text.loop(name, count) as i:
        number = text.value(f"load {text.scalar}, ptr {text.moved(source, i)}, align {text.item_bytes}")
        text.say(f"store {text.scalar} {number}, ptr {text.moved(to, i)}, align {text.item_bytes}")


def _clipped(text: Text, begin: Value, last: int) -> Value:
    return text.value(f"call i64 @llvm.smin.i64(i64 {begin}, i64 {last})")


def _joined(text: Text, parts: list[Value], count: int) -> Value:
    """Vectors of ``count`` numbers, one after the other, as one vector."""
    while len(parts) > 1:
        parts = [
            text.shuffled(one, other, range(2 * count), count)
            for one, other in zip(parts[::2], parts[1::2], strict=True)
        ]
        count *= 2
    return parts[0]


def _turned_in_units(text: Text, vectors: list[Value]) -> list[Value]:
    """Transposed in each unit of the vectors, of which there are as many as a unit has numbers; its own inverse."""
    width, count = len(vectors), text.count
    half = 1
    while half < width:
        turned = list(vectors)
        for i in range(width):
            if i & half:
                continue
            lower, upper = vectors[i], vectors[i + half]
            lanes = range(count)
            turned[i] = text.shuffled(lower, upper, [p if not p & half else count + p - half for p in lanes])
            turned[i + half] = text.shuffled(lower, upper, [p + half if not p & half else count + p for p in lanes])
        vectors = turned
        half *= 2
    return vectors


def _rows_of(text: Text, groups: list[list[Value]]) -> list[Value]:
    """The rows of a tile from columns that were turned in units.

    ``groups[g][i]`` has in its unit q the row ``width q + i`` of the g-th unit of columns.
    """
    width, count = len(groups[0]), text.count
    rows = [""] * count
    for i in range(width):
        stretch = [group[i] for group in groups]
        if len(stretch) == UNITS:  # units of four vectors transposed
            lower, upper = (
                [_units(text, stretch[a], stretch[a + 1], order) for a in (0, 2)] for order in (_LOWER, _UPPER)
            )
            whole = [_units(text, pair[0], pair[1], order) for pair in (lower, upper) for order in (_EVEN, _ODD)]
            for q in range(UNITS):
                rows[width * q + i] = whole[q]
        else:
            for q in range(UNITS):
                starts = [g * count + q * width for g in range(len(stretch))]
                mask = [start + n for start in starts for n in range(width)]
                rows[width * q + i] = text.shuffled(stretch[0], stretch[-1], mask)
    return rows


#: Units of two vectors, counted through: the lower and the upper halves, (a0 b0 a1 b1) and (a2 b2 a3 b3), of which the
#: first and the second two are then joined: (a0 b0 c0 d0), (a1 b1 c1 d1).
_LOWER, _UPPER = (0, 4, 1, 5), (2, 6, 3, 7)
_EVEN, _ODD = (0, 1, 4, 5), (2, 3, 6, 7)


def _units(text: Text, one: Value, other: Value, order: tuple[int, ...]) -> Value:
    """Units of two vectors, in an order."""
    width = unit(text)
    return text.shuffled(one, other, [u * width + n for u in order for n in range(width)])


def _interleaved(text: Text, columns: list[Value]) -> Value:
    """Columns as rows that follow each other."""
    size, count = len(columns), text.count
    if size == 1:
        return columns[0]
    if size == 2:
        return text.shuffled(columns[0], columns[1], [c * count + n for n in range(count) for c in range(2)])
    pair = text.shuffled(columns[0], columns[1], range(2 * count))
    third = text.shuffled(columns[2], "poison", [*range(count), *[-1] * count])
    mask = [n + c * count for n in range(count) for c in range(3)]
    return text.shuffled(pair, third, mask, 2 * count)
