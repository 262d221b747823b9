"""The PyTorch module."""
