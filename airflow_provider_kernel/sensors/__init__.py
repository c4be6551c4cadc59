"""The sensor that waits for an invocation which something else started."""
