"""From networks to tokens: step by step, with a schedule and noise."""
