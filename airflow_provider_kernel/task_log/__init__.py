"""An invocation's log lines in the log of the task that waits for it."""
