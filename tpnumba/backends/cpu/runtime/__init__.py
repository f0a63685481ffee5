"""How kernels are compiled, what memory they work in, and threads."""
