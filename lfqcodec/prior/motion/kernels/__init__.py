"""Compiled loops of the learned rate model (`lfqcodec.kernels`)."""
