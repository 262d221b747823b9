"""The fast NumPy module."""
