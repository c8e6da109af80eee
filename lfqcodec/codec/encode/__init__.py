"""From a video to a .lfq file."""
