"""The textbook module that computes with CuPy, on a GPU."""
