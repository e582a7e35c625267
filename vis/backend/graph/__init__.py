"""A model understood once, and everything that is asked of it."""
