"""What is spent on each chunk: crf, bitrate, two passes."""
