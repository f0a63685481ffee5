"""The whole source of a specialised kernel: rows into columns, the sums of all groups, columns into rows."""

from __future__ import annotations

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.specialised import rows
from tpnumba.backends.cpu.specialised.operand import Operand
from tpnumba.backends.cpu.specialised.sums import GroupCode
from tpnumba.backends.cpu.specialised.text import Text, function

#: The name of the kernel: ``void (void *tile, const int64_t *arrays, int64_t start, int64_t stop)``.
KERNEL = "kernel"


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

    def text(self) -> str:
        sample = Text(self._dtype)
        bits = 8 * sample.item_bytes
        inputs = [i for i in range(len(self._sizes)) if i != self._output]
        parts = [
            f"declare {sample.vector} @llvm.fma.v{sample.count}f{bits}({', '.join([sample.vector] * 3)})",
            "declare i64 @llvm.smin.i64(i64, i64)",
            *(source for group in self._groups for source in group.functions),
            self._function(
                rows.write_gather,
                "gather(ptr %to, ptr %rows, i64 %row_bytes, i64 %column_bytes, i64 %size, i64 %count)",
            ),
            self._function(
                rows.write_scatter,
                "scatter(ptr %from, ptr %rows, i64 %row_bytes, i64 %column_bytes, i64 %size, i64 %count)",
            ),
            self._function(rows.write_spread, "spread(ptr %to, ptr %row, i64 %column_bytes, i64 %size)"),
            *(self._sized(rows.write_load, i, f"load_{i}(ptr %to, ptr %rows, i64 %stride)") for i in inputs),
            self._sized(rows.write_store, self._output, "store(ptr %from, ptr %rows, i64 %stride)"),
            self._copy(),
            self._compute(),
            self._kernel(inputs),
            "!0 = !{i32 1}",
        ]
        return "\n".join(parts) + "\n"

    def _function(self, write, signature: str) -> str:  # type: ignore[no-untyped-def]
        text = Text(self._dtype)
        write(text)
        return function(text, f"internal void @{signature}")

    def _sized(self, write, operand: int, signature: str) -> str:  # type: ignore[no-untyped-def]
        text = Text(self._dtype)
        if self._sizes[operand]:
            write(text, self._sizes[operand])
        return function(text, f"internal void @{signature}")

    def _copy(self) -> str:
        text = Text(self._dtype)
        rows.write_copy_past_caches(text, self._sizes[self._output] * text.count)
        return function(text, "internal void @copy(ptr %from, ptr %to)")

    def _compute(self) -> str:
        """All sums of one tile."""
        text = Text(self._dtype)
        width = self._program.tile_width
        for begin, end in self._program.zeros:
            for column in range(int(begin) // width, int(end) // width):
                text.store("zeroinitializer", text.moved("%tile", column * text.count))
        for group in self._groups:
            for call in group.calls():
                text.say(call)
        return function(text, "internal void @compute(ptr noalias %tile)")

    def _kernel(self, inputs: list[int]) -> str:
        text = Text(self._dtype)
        count = text.count
        operands = {i: Operand(text, i, self._sizes[i], self._columns[i]) for i in (*inputs, self._output)}
        output = operands[self._output]
        buffer = text.moved("%tile", self._program.buffer // self._program.tile_width * count)
        for i in inputs:
            operands[i].load_shared()
        number = text.value("sub i64 %stop, %start")
        last = text.value(f"sub i64 %stop, {count}")
        text.say(f"%is_short = icmp slt i64 {number}, {count}")
        text.say("br i1 %is_short, label %short, label %long")
        text.label("short")
        for i in inputs:
            operands[i].gather("%start", number)
        text.say("call void @compute(ptr %tile)")
        output.scatter("%start", number)
        text.say("br label %end")
        text.label("long")
        padded = text.value(f"add i64 {number}, {count - 1}")
        tiles = text.value(f"sdiv i64 {padded}, {count}")
        with text.loop("tile_number", tiles) as tile:
            after = text.value(f"add i64 %start, {text.value(f'mul i64 {tile}, {count}')}")
            # The last tile takes some samples of the one before again, which come out the same.
            first = text.value(f"call i64 @llvm.smin.i64(i64 {after}, i64 {last})")
            for k in inputs:
                operands[k].load(first)
            text.say("call void @compute(ptr %tile)")
            output.store(first, buffer)
        text.say(f"br i1 {output.is_set(layout.STREAM)}, label %fence, label %end")
        text.label("fence")
        text.say("fence seq_cst")
        text.say("br label %end")
        text.label("end")
        return function(text, f"void @{KERNEL}(ptr noalias %tile, ptr noalias %arrays, i64 %start, i64 %stop)")
