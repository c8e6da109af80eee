"""Pictures and clips out of nothing but a class, or out of first frames: transformers over LFQ tokens."""
