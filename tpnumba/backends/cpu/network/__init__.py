"""Networks of scalars: the layers of a few rows, then the next rows, without the interpreter in between."""
