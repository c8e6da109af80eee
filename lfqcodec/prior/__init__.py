"""The learned prior: a masked transformer in exact integer arithmetic that gives frequency rows."""
