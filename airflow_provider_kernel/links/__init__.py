"""Links from a task to Kernel."""
