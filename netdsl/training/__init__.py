"""Training a network: data, optimizers, the loop, checkpoints."""
