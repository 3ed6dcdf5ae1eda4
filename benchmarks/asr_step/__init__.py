"""One step of the full-size recogniser, beside other programs on the same weights."""
