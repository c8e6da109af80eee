"""From a .lfq file to pictures and sound."""
