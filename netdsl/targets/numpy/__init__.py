"""The textbook NumPy module."""
