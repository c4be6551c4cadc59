"""The life of one owned remote object: start it exactly once, find it again, end it. Knows no resource by name."""
