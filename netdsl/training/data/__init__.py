"""Data sets: what is read, how it is split, and how batches are made of it."""
