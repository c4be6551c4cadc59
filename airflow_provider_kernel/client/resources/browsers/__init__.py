"""Browsers: sessions, and what runs inside them."""
