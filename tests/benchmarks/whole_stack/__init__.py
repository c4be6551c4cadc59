"""The parts of the benchmark ``stack.py``."""
