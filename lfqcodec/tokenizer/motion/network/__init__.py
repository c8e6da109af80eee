"""The networks: what they are built of, and how they act in a part of a picture."""
