"""Starts the real broker and the real servers and clients around it."""
