"""Outputs that appear whole or not at all: files with sound, y4m, pictures."""
