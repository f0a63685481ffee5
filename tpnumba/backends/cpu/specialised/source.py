"""The whole source of a specialised kernel: rows into columns, the sums of all groups, columns into rows.

There are two tiles. While the sums of one are worked, the columns of the one before become rows, stretch by stretch
between the functions of the groups, so that memory is written at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.specialised import rows
from tpnumba.backends.cpu.specialised.operand import Operand, Ways
from tpnumba.backends.cpu.specialised.sums import GroupCode
from tpnumba.backends.cpu.specialised.text import Text, Value, function

#: The name of the kernel: ``void (void *tile, const int64_t *arrays, int64_t start, int64_t stop)``.
KERNEL = "kernel"
#: Where the address of the kernel stands that reads tables. It adds results up, and reads rows by their numbers.
TABLES_KERNEL = "tables_kernel"


def _columns(program: ContractionProgram) -> int:
    """The columns of a tile: operands, results and nodes, which stand before the buffer."""
    return program.buffer // program.tile_width


def write_source(program: ContractionProgram, most_sums: int) -> str:
    """The text of the module; ``most_sums``: the columns that are summed at a time."""
    return _Source(program, most_sums).text()


class _Source:
    def __init__(self, program: ContractionProgram, most_sums: int) -> None:
        self._program = program
        self._dtype = program.dtype.name
        self._groups = [GroupCode(program, g, self._dtype, most_sums) for g in range(len(program.groups))]
        self._sizes = [int(size) for size in program.arrays[:, layout.SIZE]]
        self._columns = [int(at) // program.tile_width for at in program.arrays[:, layout.AT]]
        (self._output,) = program.outputs
        self._inputs = [i for i in range(len(self._sizes)) if i != self._output and self._sizes[i]]
        sample = Text(self._dtype)
        self._row_lines = self._sizes[self._output] % sample.count == 0
        self._vector, self._type = sample.vector, f"v{sample.count}f{8 * sample.item_bytes}"

    def text(self) -> str:
        out = self._sizes[self._output]
        any_rows = "(ptr %columns, ptr %rows, i64 %row_bytes, i64 %column_bytes, i64 %size, i64 %count)"
        parts = [
            f"@{TABLES_KERNEL} = global ptr null",
            f"declare {self._vector} @llvm.fma.{self._type}({', '.join([self._vector] * 3)})",
            "declare i64 @llvm.smin.i64(i64, i64)",
            *(source for group in self._groups for source in group.functions),
            self._function("gather" + any_rows, rows.write_gather),
            self._function("scatter" + any_rows, rows.write_scatter),
            self._function("spread(ptr %columns, ptr %row, i64 %column_bytes, i64 %size)", rows.write_spread),
            *(self._load(i) for i in self._inputs),
            self._function("stretch(ptr %columns, ptr %rows, i64 %stride)", lambda text: rows.write_stretch(text, out)),
            self._function("compute(ptr noalias %tile)", self._write_compute),
            self._function("store(ptr %tile, ptr %rows, i64 %stride)", lambda text: self._write_store(text, "stretch")),
            self._function(
                "copy(ptr %rows, ptr %to)", lambda text: rows.write_copy_past_caches(text, out * text.count)
            ),
            self._step("step", "stretch"),
        ]
        if self._row_lines:
            lines = "lines(ptr %columns, ptr %rows, i64 %stride)"
            parts += [
                self._function(lines, lambda text: rows.write_stretch(text, out, past_caches=True)),
                self._function(
                    "store_lines(ptr %tile, ptr %rows, i64 %stride)", lambda text: self._write_store(text, "lines")
                ),
                self._step("step_lines", "lines"),
            ]
        return "\n".join([*parts, self._kernel(), "!0 = !{i32 1}"]) + "\n"

    def _function(self, signature: str, write: Callable[[Text], None]) -> str:
        text = Text(self._dtype)
        write(text)
        return function(text, f"internal void @{signature}")

    def _load(self, operand: int) -> str:
        signature = f"load_{operand}(ptr %columns, ptr %rows, i64 %stride)"
        return self._function(signature, lambda text: rows.write_load(text, self._sizes[operand]))

    # What is done with a tile

    def _compute_calls(self) -> list[str]:
        return [call for group in self._groups for call in group.calls()]

    def _write_zeros(self, text: Text) -> None:
        width = self._program.tile_width
        for begin, end in self._program.zeros:
            for column in range(int(begin) // width, int(end) // width):
                text.store("zeroinitializer", text.moved("%tile", column * text.count))

    def _write_compute(self, text: Text) -> None:
        """All sums of one tile."""
        self._write_zeros(text)
        for call in self._compute_calls():
            text.say(call)

    def _stores(self, text: Text, name: str, tile: Value) -> Iterator[str]:
        """The calls that write the results of a tile, each in turn made when it is asked for."""
        for first in rows.stretches(text, self._sizes[self._output]):
            column = text.moved(tile, (self._columns[self._output] + first) * text.count)
            yield f"call void @{name}(ptr {column}, ptr {text.moved('%rows', first)}, i64 %stride)"

    def _write_store(self, text: Text, name: str) -> None:
        """All results of one tile."""
        for call in self._stores(text, name, "%tile"):
            text.say(call)

    def _step(self, name: str, store: str) -> str:
        """The sums of one tile, and between them the results of the one before."""
        text = Text(self._dtype)
        self._write_zeros(text)
        calls = self._compute_calls()
        count = len(rows.stretches(text, self._sizes[self._output]))
        stores = self._stores(text, store, "%before")
        done = 0
        for number, call in enumerate(calls, 1):
            text.say(call)
            while done < count * number // len(calls):
                text.say(next(stores))
                done += 1
        return function(text, f"internal void @{name}(ptr %tile, ptr %before, ptr %rows, i64 %stride)")

    # The kernel

    def _kernel(self) -> str:
        text = Text(self._dtype)
        operands = {i: Operand(text, i, self._sizes[i], self._columns[i]) for i in (*self._inputs, self._output)}
        output = operands[self._output]
        other = output.is_set(layout.SHARED)
        for operand in operands.values():
            other = text.value(f"or i1 {other}, {operand.is_set(layout.INDEX)}")
        text.say(f"br i1 {other}, label %by_tables, label %by_code")
        text.label("by_tables")
        tables = text.value(f"load ptr, ptr @{TABLES_KERNEL}")
        text.say(f"call void {tables}(ptr %tile, ptr %arrays, i64 %start, i64 %stop)")
        text.say("br label %end")
        text.label("by_code")
        for i in self._inputs:
            operands[i].load_shared(_columns(self._program) * text.count)
        number = text.value("sub i64 %stop, %start")
        text.say(f"%is_short = icmp slt i64 {number}, {text.count}")
        text.say("br i1 %is_short, label %short, label %long")
        text.label("short")
        for i in self._inputs:
            operands[i].gather("%start", number)
        text.say("call void @compute(ptr %tile)")
        output.scatter("%start", number)
        text.say("br label %end")
        text.label("long")
        self._write_tiles(text, operands, number)
        text.label("end")
        return function(text, f"void @{KERNEL}(ptr noalias %tile, ptr noalias %arrays, i64 %start, i64 %stop)")

    def _write_tiles(self, text: Text, operands: dict[int, Operand], number: Value) -> None:
        """Tile by tile, results a step behind sums; ends in the block ``end``."""
        output = operands[self._output]
        numbers = _columns(self._program) * text.count
        way = output.way()
        last = text.value(f"sub i64 %stop, {text.count}")
        padded = text.value(f"add i64 {number}, {text.count - 1}")
        tiles = text.value(f"sdiv i64 {padded}, {text.count}")
        buffer = text.moved("%tile", 2 * numbers)
        with text.loop("number", text.value(f"add i64 {tiles}, 1")) as k:
            after = text.value(f"add i64 %start, {text.value(f'mul i64 {k}, {text.count}')}")
            # The last tile takes some samples of the one before again, which come out the same.
            first = text.value(f"call i64 @llvm.smin.i64(i64 {after}, i64 {last})")
            previous = text.value(f"sub i64 {after}, {text.count}")
            before_first = text.value(f"call i64 @llvm.smin.i64(i64 {previous}, i64 {last})")
            odd = text.value(f"and i64 {k}, 1")
            tile = text.moved("%tile", text.value(f"mul i64 {odd}, {numbers}"))
            before = text.moved("%tile", text.value(f"mul i64 {text.value(f'xor i64 {odd}, 1')}, {numbers}"))
            rows_before = output.rows(before_first)
            is_first = text.value(f"icmp eq i64 {k}, 0")
            is_last = text.value(f"icmp eq i64 {k}, {tiles}")
            text.say(f"br i1 {is_last}, label %store_last, label %load")
            text.label("load")
            for i in self._inputs:
                operands[i].load(tile, first)
            text.say(f"br i1 {is_first}, label %compute_only, label %both")
            text.label("compute_only")
            text.say(f"call void @compute(ptr {tile})")
            text.say("br label %tile_done")
            text.label("both")
            arguments = f"ptr {tile}, ptr {before}, ptr {rows_before}, i64 {output.row_bytes}"
            steps = {Ways.STRETCHES: "step"} | ({Ways.LINES: "step_lines"} if output.has_lines else {})
            cases = " ".join(f"i32 {each}, label %{name}" for each, name in steps.items())
            text.say(f"switch i32 {way}, label %separately [ {cases} ]")
            for name in steps.values():
                text.label(name)
                text.say(f"call void @{name}({arguments})")
                text.say("br label %tile_done")
            text.label("separately")
            text.say(f"call void @compute(ptr {tile})")
            text.say("br label %store_last")
            text.label("store_last")
            output.store(before, rows_before, buffer, way)
            text.say("br label %tile_done")
            text.label("tile_done")
        text.say(f"br i1 {output.is_set(layout.STREAM)}, label %fence, label %end")
        text.label("fence")
        text.say("fence seq_cst")
        text.say("br label %end")
