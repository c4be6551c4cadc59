"""Operators that start, complete, update and cancel invocations."""
