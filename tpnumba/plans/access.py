"""How the samples of a call read or write the rows of an operand."""

from __future__ import annotations

from enum import StrEnum


class Access(StrEnum):
    """How many rows an operand has, and which of them a sample takes.

    Attributes:
        BATCH: one row a sample.
        SHARED: one row for all samples; as an output, the sum over all samples.
        INDEXED: the row that the sample's index says; as an output, the sum over the samples of each row.
    """

    BATCH = "batch"
    SHARED = "shared"
    INDEXED = "indexed"
