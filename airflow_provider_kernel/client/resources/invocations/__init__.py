"""Invocations: one run of an app's action each."""
