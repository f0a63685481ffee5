"""Products and harmonics of one sample, as code for somebody else's loops: of Numba, and of CUDA.

``program`` says what is computed, read off a form; ``walk`` and ``harmonics`` write that down, statement by statement,
with an emitter (``emitter``), of which there are two: for instructions of LLVM (``llvm``) and for CUDA (``cuda``).
``recipes`` are what both start from, ``kernel`` is what Numba sees.
"""
