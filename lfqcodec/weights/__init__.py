"""Weights of tokenizers and priors: which there are, and networks made of them."""

from lfqcodec.weights.store import Model, available_models, find_model, resolve_model

__all__ = ["Model", "available_models", "find_model", "resolve_model"]
