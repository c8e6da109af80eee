"""Reading of .lfq files: bytes to units, units in order or by index, past damage."""
