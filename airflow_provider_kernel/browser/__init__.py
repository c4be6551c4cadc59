"""A browser as the code of a task uses it."""
