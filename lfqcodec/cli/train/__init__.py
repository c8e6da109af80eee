"""`lfqcodec train ...`: the only part of the package that imports `lfqcodec.train`."""
