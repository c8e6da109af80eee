"""Labelled pictures and clips that are drawn, not collected: data to try generators on."""
