"""The subjective study of the paper's appendix A.3: which of two videos is better, and Elo from the votes."""
