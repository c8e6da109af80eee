"""How good generated pictures and clips are."""
