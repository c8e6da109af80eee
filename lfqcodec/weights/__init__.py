"""Model weights: which there are, where they lie, and that they are what a file asks for."""

from lfqcodec.weights.store import Model, available_models, find_model, resolve_model

__all__ = ["Model", "available_models", "find_model", "resolve_model"]
