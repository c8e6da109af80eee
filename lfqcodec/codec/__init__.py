"""The codec: tokenizer, entropy coder, container and video put together."""
