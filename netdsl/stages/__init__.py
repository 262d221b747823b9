"""The fast kernels: each stage computes a layer for one worker, in memory that it keeps; their costs and workers."""
