"""The trigger that waits for an invocation in the triggerer."""
