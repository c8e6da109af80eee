"""The bytes of each part of a file, packed and parsed."""
