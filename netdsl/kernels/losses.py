"""Losses with their gradients. Each takes what the network gives (N, K, ...) and targets, and means over the batch."""

import numpy as np


def check_labels(labels, num_classes):
    """Raise ValueError unless every label is a whole number in 0 .. num_classes - 1 (a negative index would wrap)."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}")
    if labels.size == 0 or labels.min() < 0 or labels.max() >= num_classes:
        found = f"{labels.min()} to {labels.max()}" if labels.size else "none"
        raise ValueError(f"labels must lie in 0 to {num_classes - 1}, found {found}")


def cross_entropy(logits, labels):
    """logits (N, K, ...), labels (N, ...) -> mean loss, dlogits = (softmax - onehot(labels)) / number of labels.

    The maximum is taken out first, so that no exponential overflows.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss, dlog_p = nll(log_p, labels)
    return loss, dlog_p + np.exp(log_p) / labels.size


def nll(log_p, labels):
    """Log-probabilities (N, K, ...), labels (N, ...) -> mean of -log_p at the labels, its gradient."""
    check_labels(labels, log_p.shape[1])
    at_labels = np.expand_dims(labels, 1)
    loss = -np.take_along_axis(log_p, at_labels, axis=1).mean()
    dlog_p = np.zeros_like(log_p)
    np.put_along_axis(dlog_p, at_labels, -1.0 / labels.size, axis=1)
    return loss, dlog_p


def mse(y, target):
    """y (N, ...), target the same shape -> mean squared error, dy = 2 * (y - target) / size.

    Labels (N,) of whole numbers stand for their one-hot rows.
    """
    if np.issubdtype(target.dtype, np.integer) and target.shape != y.shape:
        check_labels(target, y.shape[1])
        target = np.eye(y.shape[1], dtype=y.dtype)[target]
    if target.shape != y.shape:
        raise ValueError(f"the targets have the shape {target.shape}, the network's outputs {y.shape}")
    difference = y - target
    return (difference * difference).mean(), difference * (2.0 / difference.size)
