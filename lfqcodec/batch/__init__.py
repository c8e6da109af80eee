"""Many files at once: what is to be done, what is done already, who does it, and what came of it."""
