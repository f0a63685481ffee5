"""Machine code made for one plan: the table of a contraction written out as straight-line code, with the same bits."""
