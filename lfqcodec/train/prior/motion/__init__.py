"""Training of the networks of `lfqcodec.prior.motion`."""
