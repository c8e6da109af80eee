"""The report: Bjontegaard deltas, mean curves, plots, and one page that holds them all."""
