"""The networks of generators, their configuration, and their files."""
