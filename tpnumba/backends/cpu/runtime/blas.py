"""Where BLAS is: the addresses of the matrix products that SciPy offers to compiled code."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_NAMES = {"float32": "sgemm", "float64": "dgemm"}


@cache
def gemm_address(dtype: str) -> int:
    """The address of the Fortran routine ``sgemm`` or ``dgemm``, with 32-bit integers."""
    from scipy.linalg import cython_blas

    offered: Any = cython_blas.__pyx_capi__
    capsule = offered[_NAMES[dtype]]
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name_of(capsule)
    assert signature.count(b", int *") == 6, signature  # sizes and strides
    return int(pointer_of(capsule, signature))
