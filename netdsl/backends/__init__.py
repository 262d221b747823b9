"""A graph made to run: layer objects, a NumPy module, a PyTorch module."""
