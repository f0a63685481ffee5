"""Every size and every field of a table that the CPU's kernels and the code that prepares them share.

A *tile* is the memory that a thread works in. It holds ``tile_width`` samples; a *column* is the ``tile_width``
contiguous values of one component. Positions in a tile are counted in numbers from its start.
"""

from __future__ import annotations

#: Bytes of a vector, and of a line of the caches.
LINE = 64
#: How many vectors a column may have; the first whose tile fits is taken.
VECTORS = (4, 2, 1)
#: The type by which a kernel is told how many vectors a column has: a tuple of that length.
WIDTHS = {vectors: (0,) * vectors for vectors in VECTORS}

#: Columns are shortened, down to one vector, to keep a tile to this size in bytes, which the third cache holds. Long
#: columns count for more than the second cache: L = 8, Clebsch-Gordan, 3.3 microseconds a sample with columns of 4
#: vectors in 2.2 MB, 4.6 with columns of one in 0.9 MB; Gaunt at L = 32 on a grid, 20.4 in 3 MB and 24.2 in 1 MB.
TILE_BYTES = 2**22
#: The same where each sample has a matrix of weights.
WEIGHTS_TILE_BYTES = 3 * 2**18
#: What the tiles of all threads may take together. A plan whose smallest tile is larger has no program.
MOST_BYTES = 2**25
#: Columns of the buffer in which rows of the result are put together, in units of 64 bytes.
STRETCH = 64
#: Rows of at most this many numbers are put together whole.
LONGEST = 16384
#: Bytes of a result of harmonics that are put together in the buffer, unless ``vector_length`` rows take more.
TOGETHER = 2**15

#: Results larger than this, in bytes, are written past the caches, which they would only empty.
STREAM_BYTES = 2**23
#: The same for harmonics. But those of more than the second number that are allocated for the call are not: their pages
#: come from the system, which has just filled them with zeros, so that their lines are in a cache (100,000 points,
#: degree 12, float32, one core: 10.5 ms so, 12.5 past the caches).
HARMONICS_STREAM_BYTES, FRESH_BYTES = 2**24, 2**25
#: Results from so many bytes on stand on memory that is kept when they die, up to so many bytes of it. The first is the
#: size from which glibc gives freed memory back to the system at once.
LARGE_BYTES, POOL_BYTES = 2**25, 2**28
#: Copies of operands that do not stand in memory as rows, in bytes at a time.
COPY_BYTES = 2**24
#: Tiles of samples that are summed in one go; then the sums are summed.
SUMMED_TILES = 16
#: Seconds that a chunk of the batch takes, roughly: worth a call, and short enough to answer Ctrl-C.
CHUNK_SECONDS = 1e-3

#: Fields of the table of arrays (operands and results) that every kernel reads: the place in the tile; the numbers of
#: a row; whether one row serves all samples; whether it is a result, of one that is summed the place of its totals; the
#: address in memory (0: not there), the strides in numbers; whether it is written past the caches; the address of the
#: number of each sample's row, as 32-bit integers (0: rows follow each other); in the first record, the address of the
#: list of the program's tables, for native functions that have none of their own.
AT, SIZE, SHARED, OUTPUT, ADDRESS, ROW_STRIDE, COLUMN_STRIDE, STREAM, INDEX, TABLES = range(10)
ARRAY_COLUMNS = 10
#: Value of SHARED: a row that stands in the tile as it is, one number and not a column for each component.
COMPACT = 2
#: Value of OUTPUT: a result of which the rows are added to.
ADD_TO_ROWS = 2

#: Numbers of an entry of the list of a program's tables: the address, the rows and the columns of a table, or a number.
TABLE_FIELDS = 3
#: Fields of the entry of a program: the address of its kernel as a native function ``void kernel(void *tile, const
#: int64_t *arrays, int64_t start, int64_t stop)``, the samples that calls have evaluated, and those from which on it
#: pays to make code for the program.
ENTRY_KERNEL, ENTRY_SAMPLES, ENTRY_ENOUGH = range(3)
ENTRY_FIELDS = 3
#: Value of ENTRY_ENOUGH: it never pays.
NEVER = 2**62

# Prepared calls

#: Work of at most this many seconds, roughly, is done without giving up the interpreter's lock.
BRIEF_SECONDS = 5e-5
#: Native jobs of more seconds are offered to other threads, the next of which takes them over at once or not at all.
#: Work of 8 microseconds is done 1.2 times faster by two threads, of 16 1.5 times, of 60 1.85 times; if nobody is there
#: to take it over, it takes half a microsecond longer. But what is brief is not worth the interpreter's lock.
WORTH_HANDING_OVER = BRIEF_SECONDS
#: Plans with more operations have no second program for as few samples as one vector holds.
MOST_FEW_FLOPS = 20_000
#: Results of more bytes have no prepared calls, which would save them nothing.
MOST_PREPARED_BYTES = 2**24
#: Fields of the head of a prepared call: the bytes that every object begins with; where the items of a tuple stand in
#: its object; how many arrays come in a tuple; how many of them, the first ones, must be as is said, and whether the
#: last of these is an ``out`` that must overlap none; steps, and where they begin; bytes between tile and tables.
H_HEADER, H_ITEMS, H_LENGTH, H_CHECKED, H_OUT, H_STEPS, H_STEPS_BEGIN, H_TILE_BYTES = range(8)
HEAD_FIELDS = 8
#: Where the fields of an array stand in its object, behind what every object begins with, and the bits of its flags.
NUMPY_DATA, NUMPY_AXES, NUMPY_SHAPE, NUMPY_STRIDES, NUMPY_DTYPE, NUMPY_FLAGS = 0, 8, 16, 24, 40, 48
ALIGNED, WRITEABLE, WARN_ON_WRITE = 1 << 8, 1 << 10, 1 << 31
#: Fields of what an array must be: the addresses of its type and of its dtype; axes; the flags that are asked for, and
#: which of them must be set; where its memory begins and ends, in bytes from its first number; the place of its shape,
#: behind which stand its strides.
I_TYPE, I_DTYPE, I_AXES, I_FLAGS, I_SET, I_LOW, I_HIGH, I_SHAPE = range(8)
IMAGE_FIELDS = 8
#: Fields of a step, the evaluation of a program: the address of its entry; of the table of arrays but for addresses,
#: and the numbers in it; samples; where the tables of all steps have this one's; the list of (record, array) pairs.
S_ENTRY, S_TABLE, S_NUMBERS, S_COUNT, S_TO, S_PAIRS_BEGIN, S_PAIRS_END = range(7)
STEP_FIELDS = 7

# Products of matrices by BLAS

#: Multiplications of a piece, at most: beyond, OpenBLAS wakes threads of its own.
MOST_MULTIPLICATIONS = 2**18
#: Terms of a sum in a piece, at most, so that it has columns enough.
LONGEST_SUM = 64
#: Rows of a network that are worked at a time: pieces are nearly cubes.
NETWORK_ROWS = 64
#: Fields of the table of layers: the addresses of the matrix, of its transpose, of the bias (0: none), and of the sums
#: of the gradients of matrix and bias (0: not asked for); rows and columns of the matrix.
N_MATRIX, N_TRANSPOSED, N_BIAS, N_MATRIX_SUM, N_BIAS_SUM, N_ROWS, N_COLUMNS = range(7)
LAYER_FIELDS = 7
#: Fields of the table of groups of a linear map: the address of the matrix; components; rows and columns of the matrix;
#: the places of the inputs and of the outputs in the table of blocks; where in a row those inputs and outputs are that
#: stand there as rows of a matrix, -1 of others.
G_MATRIX, G_DIM, G_TERMS, G_COLUMNS = range(4)
G_INPUTS_BEGIN, G_INPUTS_END, G_OUTPUTS_BEGIN, G_OUTPUTS_END, G_FROM_MEMORY, G_TO_MEMORY = range(4, 10)
GROUP_OF_MAP_FIELDS = 10
#: Fields of the table of blocks: where one begins in a row, its copies, and the first of its rows or columns of the
#: matrix.
B_START, B_MUL, B_PLACE = range(3)
BLOCK_FIELDS = 3

# Contraction

#: Fields of ``groups``. A factor starts at a place and moves by a stride a channel. Sums of products of the two factors
#: are nodes, which the rows then sum; or rows sum columns of the left one, and products of these sums, which are nodes
#: too, with the right one are summed last (ROWS_FIRST).
LEFT, LEFT_CHANNEL, RIGHT, RIGHT_CHANNEL = range(4)
CHANNELS_BEGIN, CHANNELS_END, ROWS_BEGIN, ROWS_END, NODES_BEGIN, NODES_END, ROWS_FIRST = range(4, 11)
#: Weights that mix channels: before the rows, after them, or as the outer product that their gradient is. FROM channels
#: of scratch columns, TO channels of the third operand, COMPONENTS of both; weights stand as columns or as numbers.
MIX, MIX_FROM, MIX_TO, MIX_COMPONENTS, MIX_SCRATCH, MIX_WEIGHTS, MIX_COMPACT = range(11, 18)
MIX_THIRD, MIX_CHANNEL, MIX_COMPONENT, MIX_ADD = range(18, 22)
AFTER, BEFORE, OUTER = 1, 2, 3
#: A factor without channels makes, with the coupling, one matrix for all channels of the other one: FROM channels of
#: the factor that moves and of the third operand. The result is the varying factor, or the known one, of which the
#: matrix is then the gradient, so it comes first. (For the third operand and for weights, products are quicker: 5.4
#: against 6.2 ms and 5.6 against 7.3 ms for 1,000 samples of 64x(0e+1o+2e) with harmonics to 3; these two, 7.9 against
#: 6.4 ms and 7.8 against 4.2 ms.)
VARYING, VARYING_CHANNEL, VARYING_STEP, VARYING_SIZE = range(22, 26)
TO_VARYING, TO_KNOWN = 4, 5
GROUP_COLUMNS = 26
#: Fields of ``channels``: for one combination, the channel of each factor and of the result.
C_LEFT, C_RIGHT, C_FIRST, C_SECOND, C_RESULT = range(5)
#: Fields of ``rows``: terms from BEGIN to END, times two factors (-1: none), to a result.
BEGIN, END, FIRST, FIRST_CHANNEL, SECOND, SECOND_CHANNEL, RESULT, RESULT_CHANNEL, ADD = range(9)
#: Fields of ``sums``: products from BEGIN to END of ``factors``, whose columns are places of the left and of the right
#: factor; where the sum goes, how far that moves a channel of the result, and whether it is added to what is there.
SUM_BEGIN, SUM_END, SUM_RESULT, SUM_RESULT_CHANNEL, SUM_ADD = range(5)
SUM_FIELDS = 5

# Channelwise contractions: the lanes of a vector are channels. Samples come in tiles of one vector; the coupling of a
# path with the operand without channels is a matrix for each of them, from the components of the source to those of
# the target.

#: Bytes of the gradients of matrices that are worked at a time.
MATRIX_BYTES = 2**18
#: What is computed: the target, the weights' gradient, or that of the operand without channels.
TO_TARGET, TO_WEIGHTS, TO_PLAIN = range(3)
#: Fields of ``roles``: the row of the table of arrays (-1: there is none); whether its rows are read and written in
#: memory; the numbers of a row there or in a slot of the tile; the place of the first slot.
A_ROW, A_DIRECT, A_SIZE, A_SLOTS = range(4)
ROLE_FIELDS = 4
#: Fields of ``segments``: the row of the table of arrays; the first number in the row; components and channels; the
#: place in a slot and the numbers between components there; whether the channels of a component follow each other.
S_ARRAY, S_OFFSET, S_SIZE, S_CHANNELS, S_PLACE, S_STEP, S_CONTIGUOUS = range(7)
SEGMENT_FIELDS = 7
#: Fields of ``paths``: places of source and target in their rows, the numbers between components, and the components;
#: the place of the weights in their row (-1: none); the first matrix column; the vectors of channels; whether the
#: matrix is a multiple of one.
P_SOURCE, P_SOURCE_STEP, P_SOURCE_SIZE, P_TARGET, P_TARGET_STEP, P_TARGET_SIZE = range(6)
P_WEIGHTS, P_MATRIX, P_VECTORS, P_SCALAR = range(6, 10)
PATH_FIELDS = 10

# Transforms

#: Fields of ``operations``; what is meant by A to H depends on the kind. Positions in numbers.
KIND, COUNT, TO, SOURCE, OTHER, A, B, C, D, E, F, G, H = range(13)
OPERATION_COLUMNS = 13
#: Zero COUNT columns from TO on.
FILL = 0
#: COUNT products with a matrix, TO and SOURCE moving on by A and B: C results by D terms, whose places start at E and
#: F, the matrix at G; H adds to what is there.
DENSE = 1
#: COUNT mirror sets of A times 4 or 2 parities, C apart, 2 of them (the rings' parities) D apart, from SOURCE to points
#: and back; B is the number of mirror sets that follow each other, E the distance to the next such row.
REFLECT = 2
#: The same for the product of SOURCE and OTHER, written to TO.
POINTWISE = 3
#: COUNT columns of the product of SOURCE and OTHER to TO; A as of ``multiply_into``.
MULTIPLY = 4
#: Copies of COUNT columns, between places from A and from B on.
COPY = 5
#: The product of two matrices of COUNT rows: strides of a row and a column of SOURCE in A and B, of OTHER in C and D.
MATRICES = 6
#: COUNT products of columns, at places of TO, SOURCE and OTHER that start at A, B and C; D as of ``multiply_into``.
PRODUCTS = 7

# Harmonics

#: Rows of the table of arrays: the points; the cotangent or tangent that comes with them; the results.
POINTS, COMPANION, VALUES, DERIVATIVE = range(4)
#: What the second result is.
NOTHING, JACOBIAN, PULLED_BACK, PUSHED_FORWARD = range(4)
#: Columns of the tile that a point takes: x, y, z, its square, two factors of ``1 / |r|``.
POINT_COLUMNS = 6
#: Fields of the ladder: terms 0 and 1 make the derivative by x, term 2 that by y, terms 3 and 4 that by z; among the
#: weights, the degree follows.
TERMS, DEGREE = 5, 5
