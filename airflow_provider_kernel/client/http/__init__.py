"""One HTTP exchange, for any resource."""
