"""What a graph becomes: a NumPy module to be read, a fast one, a PyTorch module, live layer objects."""
