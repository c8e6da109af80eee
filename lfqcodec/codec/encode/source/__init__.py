"""What the encoder is given: pictures, times and packets, in chunks and GOPs."""
