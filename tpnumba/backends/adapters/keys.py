"""Numbers for what graphs of torch and compiled functions of jax compute, as these hold numbers and no objects.

Both libraries write what they have compiled to files, which other processes read. So the number is a hash of the
object's value, the same in every process, and not one that is given out in turn.

The tables from numbers to calls keep what they were given: a graph or a compiled function may run as long as the
process does, and neither library says when it drops one. A bound on them, or weak references, would let functions fail
that have been compiled before. They grow by one small call for each distinct thing that is compiled (with its plan,
which equal operators share), not for each that is run. Operators that are nodes of graphs (``graphs.py``) are referred
to weakly: the function that was compiled holds them.
"""

from __future__ import annotations

import hashlib
import io
import pickle


def key_of(value: object) -> int:
    """A number of 63 bits that equal values share."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=5)
    pickler.fast = True  # writes equal objects alike, whether or not they are the same object
    pickler.dump(value)
    return int.from_bytes(hashlib.sha256(stream.getvalue()).digest()[:8], "little") >> 1
