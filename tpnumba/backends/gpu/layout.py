"""Every record, size and constant that Python and the CUDA sources share, once.

Python reads them here; :func:`cuda_constants` writes them as the lines that a CUDA source begins with, so a number or
the order of a record's fields is changed in one place. What a price is estimated by stands where it is estimated, and
what the hardware gives in :mod:`device`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from tpnumba.backends.gpu import device

#: Threads of a block in every kernel but that of harmonics, which takes this many at most.
THREADS = 256
#: Integers that a thread reads at once; records that are read so begin at a multiple of it.
QUAD = device.VECTOR_BYTES // 4
#: Inputs of a program: positional arguments of the kernel.
INPUTS = 3

# ---------------------------------------------------------------------------------------- the kernel of tiles


class HeaderRecord(IntEnum):
    """Start of a table: log2 of a tile's samples, its pitch, the result's width, the inputs' sizes; then sections."""

    SHIFT = 0
    PITCH = 1
    WIDTH = 2
    SIZES = 3
    SECTIONS_BEGIN = SIZES + INPUTS


class SectionRecord(IntEnum):
    """A section: where its phases are; its part of the result in the tile, in the row; whether that starts as zero."""

    PHASES = 0
    PHASES_END = 1
    OUTPUT = 2
    N_OUTPUTS = 3
    COLUMNS = 4
    ZERO = 5
    SECTION_SIZE = 6


class PhaseRecord(IntEnum):
    """A phase: where its operations are; for each input its place in the tile, the columns picked, how many."""

    OPS = 0
    OPS_END = 1
    LOADS = 2
    PICKED = LOADS + INPUTS
    WIDTHS = PICKED + INPUTS
    PHASE_SIZE = WIDTHS + INPUTS


class OperationRecord(IntEnum):
    """An operation: what all kinds have. The body depends on the kind."""

    KIND = 0
    ADD = 1
    TO_OUTPUT = 2
    COEFFICIENTS = 3
    FACTOR = 4
    BODY = 5
    OP_SIZE = 20


class SumsRecord(IntEnum):
    """The body of sums over tables (linear or products): tasks, rows, parts, lists of channels and terms."""

    N_TASKS = OperationRecord.BODY
    TASKS = 6
    ROWS = 7
    PARTS = 8
    LISTS = 9
    TERMS = 10


class DenseRecord(IntEnum):
    """The body of products with dense matrices: the shape that a thread makes, items, and updates."""

    SHAPE = OperationRecord.BODY
    N_ITEMS = 6
    ITEMS = 7
    N_UPDATES = 8
    UPDATES = 9


class ItemRecord(IntEnum):
    """What a thread makes of a dense matrix product."""

    PACK = 0
    PACKS = 1
    DEPTH = 2
    SOURCES = 3
    IN = 4
    STEP_IN = 5
    TARGETS = 6
    OUT = 7
    STEP_OUT = 8
    N_COLUMNS = 9
    MODE = 10
    UNUSED = 11
    ITEM_SIZE = 12


class UpdateRecord(IntEnum):
    """What becomes of it: where it is put, what it is multiplied with, a factor, whether it is added."""

    TO = 0
    TIMES = 1
    UPDATE_FACTOR = 2
    UPDATE_ADD = 3
    UPDATE_SIZE = 4


class Kind(IntEnum):
    """Kinds of operation."""

    LINEAR = 0
    PRODUCT = 1
    MATRIX = 2
    DENSE = 3


class Factor(IntEnum):
    """Where the factor of a sum stands; from 0 on: in this input, read in global memory."""

    NO_FACTOR = -2
    FROM_TILE = -1


class Mode(IntEnum):
    """Sums of numbers as they stand; sums that are added and subtracted; sums of numbers that are so first."""

    PLAIN = 0
    AFTER = 1
    BEFORE = 2


class Sharing(IntEnum):
    """Bits for how threads share a matrix product; see :mod:`tile.matrix_products`."""

    ALONG = 1
    TOGETHER = 2
    IS_WIDE = 4
    TURNED = 8


#: A matrix product: extents, the places of its three operands with their steps, and how threads share it.
PRODUCT_FIELDS = (
    *("n_i", "n_j", "n_k", "splits"),
    *("a", "a_i", "a_j", "groups_i"),
    *("b", "b_j", "b_k", "groups_k"),
    *("c", "c_i", "c_k", "sharing"),
)
#: Numbers of a row of the first factor that are read at once.
MATRIX_WIDE = 4
#: Rows and columns of a matrix product that a thread makes: along rows of the first factor, or not.
MATRIX_ROWS, MATRIX_COLUMNS = {False: 4, True: 2}, {False: 4, True: 8}

#: A row or a part of a sum begins with this many integers; then a place and a step for each result.
HEAD = 4
#: Reads of four integers that a list of channels takes.
LIST_QUADS = 3
#: Terms that are read at once, with the tile in shared memory or not. In shared memory both places of a term share one
#: integer, of which x has this many bits.
TERMS_AT_ONCE = {True: 4, False: 2}
PLACE_BITS = 16
#: Sums that one thread may keep; more float64 ones than these would spill registers.
REPEATS = {"float32": (1, 2, 4, 8), "float64": (1, 2, 4)}
#: Coefficients begin at a multiple of this, as several are read at once.
COEFFICIENTS_ALIGNED = 8
#: Results and columns of dense matrices that a thread makes; those after the first three would take more registers in
#: float64 than there are.
DENSE_SHAPES = ((4, 2), (8, 1), (8, 2), (8, 4), (16, 2))
N_DOUBLE_SHAPES = 3
#: Samples of a tile: enough that the threads of a warp differ in nothing else.
MOST_SAMPLES = device.WARP
#: Samples and columns of a tile without padding that a warp loads or stores: whole sectors, few conflicts of banks.
LOAD_SAMPLES, LOAD_COLUMNS = 4, 8

# ------------------------------------------------------------------------------------------ multipass kernels


class TaskRecord(IntEnum):
    """Some rows of one matrix of a product with dense matrices."""

    MATRIX = 0
    ROWS = 1
    DEPTH = 2
    TO = 3
    FROM = 4
    N_COLUMNS = 5
    STEP_TO = 6
    STEP_FROM = 7
    FIRST = 8
    TASK_SIZE = 9


#: Rows and columns of a tile that is transposed.
EDGE = 32
#: Columns of a tile of a matrix product: a warp side by side, each thread WIDE of them.
TILE_COLUMNS = 128
WIDE = TILE_COLUMNS // device.WARP
#: Warps of a block; rows of a tile are this many times those of a thread.
HIGH = THREADS // device.WARP
#: Rows of a matrix product that a thread makes.
MULTIPASS_REPEATS = (1, 2, 4, 8)
#: Terms of a matrix product between barriers.
DEPTH_AT_ONCE = 16
#: Rows and columns that a thread makes of a sample's own matrix product.
SQUARE = 4
#: Samples that are worked at a time are a multiple of this: every row of an array begins at a line of the caches.
ALIGNED_SAMPLES = 32

# -------------------------------------------------------------------------------------- kernels of harmonics


class PointRecord(IntEnum):
    """Numbers of a point: a direction and ``|r|^2 - 1``, or itself and ``|r|^2``; factors of ``1/|r|``; a tangent."""

    X = 0
    Y = 1
    Z = 2
    SQUARE = 3
    OVER = 4
    OVER_TOO = 5
    TANGENTS = 6
    POINT = 9


class SavedRecord(IntEnum):
    """Numbers of an order that are saved between ranges of degrees: those of the last degree and of the one before."""

    COSINE = 0
    SINE = 1
    COSINE_BELOW = 2
    SINE_BELOW = 3
    SAVED = 4


class HarmonicsKind(IntEnum):
    """What the kernel of harmonics makes."""

    VALUES = 0
    JACOBIAN = 1
    TANGENT = 2


#: Sums of an order's three derivatives, beside what is saved.
SUMS = 3
#: Coefficients of a degree and order: of the recursion; and of the ladder, four as they are read at once.
RECURSION_FIELDS = ("a", "b")
LADDER_FIELDS = ("along", "inner", "outer", "unused")


# ------------------------------------------------------------------------------------------------- for CUDA


class _Shared(NamedTuple):
    """What a source begins with."""

    constants: Mapping[str, int]
    records: Sequence[type[IntEnum]]
    fields: Mapping[str, Sequence[str]]


_SOURCES = {
    "tile.cu": _Shared(
        {
            "THREADS": THREADS,
            "INPUTS": INPUTS,
            "QUAD": QUAD,
            # Blocks on a multiprocessor, at least: few enough that registers are left for none to be spilled.
            "BLOCKS": 2,
            "FLOAT_BLOCKS": 2,
            "UNROLLED_FLOAT_BLOCKS": 3,
            "HEAD": HEAD,
            "LIST_QUADS": LIST_QUADS,
            "SHARED_TERMS": TERMS_AT_ONCE[True],
            "GLOBAL_TERMS": TERMS_AT_ONCE[False],
            "PLACE_BITS": PLACE_BITS,
            "MATRIX_WIDE": MATRIX_WIDE,
            "ROWS_ALONG": MATRIX_ROWS[True],
            "COLUMNS_ALONG": MATRIX_COLUMNS[True],
            "ROWS_APART": MATRIX_ROWS[False],
            "COLUMNS_APART": MATRIX_COLUMNS[False],
            "LOAD_SAMPLES": LOAD_SAMPLES,
            "LOAD_COLUMNS": LOAD_COLUMNS,
        },
        (
            *(HeaderRecord, SectionRecord, PhaseRecord, OperationRecord, SumsRecord, DenseRecord, ItemRecord),
            *(UpdateRecord, Kind, Factor, Mode, Sharing),
        ),
        {
            "PRODUCT_FIELDS": PRODUCT_FIELDS,
            # To be written out for each: its number, results, columns.
            **{
                f"{name}(CASE)": [f"CASE({i}, {rows}, {columns})" for i, (rows, columns) in shapes]
                for name, shapes in {
                    "SHAPES": list(enumerate(DENSE_SHAPES))[:N_DOUBLE_SHAPES],
                    "FLOAT_SHAPES": list(enumerate(DENSE_SHAPES))[N_DOUBLE_SHAPES:],
                }.items()
            },
        },
    ),
    "multipass.cu": _Shared(
        {
            "THREADS": THREADS,
            "BLOCKS": 2,
            "EDGE": EDGE,
            "TILE_COLUMNS": TILE_COLUMNS,
            "WARP": device.WARP,
            "HIGH": HIGH,
            "WIDE": WIDE,
            "DEPTH_AT_ONCE": DEPTH_AT_ONCE,
            "SQUARE": SQUARE,
        },
        (TaskRecord,),
        {},
    ),
    "harmonics.cu": _Shared(
        {"THREADS": THREADS, "BLOCKS": 4, "FLOAT_BLOCKS": 6, "SUMS": SUMS},
        (HarmonicsKind, PointRecord, SavedRecord),
        {"RECURSION_FIELDS": RECURSION_FIELDS, "LADDER_FIELDS": LADDER_FIELDS},
    ),
}


def cuda_constants(file: str) -> str:
    """The lines that a CUDA source begins with: its constants, the fields of its records and of structures."""
    shared = _SOURCES[file]
    lines = [f"constexpr int {name} = {value};" for name, value in shared.constants.items()]
    for fields in shared.records:
        lines.append(f"enum {{ {', '.join(f'{field.name} = {field.value}' for field in fields)} }};")
    for name, members in shared.fields.items():
        lines.append(f"#define {name} {(' ' if '(' in name else ', ').join(members)}")
    return "\n".join([*lines, ""])


def record(fields: type[IntEnum], **values: int | Sequence[int]) -> list[int]:
    """The integers of a record, by the names of its fields; a field that several numbers begin at takes a sequence.

    Raises:
        ValueError: two numbers for one place, or none for a place between others.
    """
    flat: dict[int, int] = {}
    given = 0
    for name, value in values.items():
        own = list(value) if isinstance(value, Sequence) else [value]
        given += len(own)
        flat.update(zip(range(fields[name], fields[name] + len(own)), own, strict=True))
    if given != len(flat) or sorted(flat) != list(range(min(flat), max(flat) + 1)):
        raise ValueError(f"values must be one for each place of {fields.__name__}, got {values}")
    return [flat[place] for place in sorted(flat)]
