"""Losses with their gradients. Each takes what the network gives (N, K, ...) and targets, and means over the batch.

Of tokens (N, T, K), whose classes are last, each is a sample: `of_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netdsl.kernels.arrays import Array, Number
from netdsl.kernels.stable import sigmoid


def check_labels(labels: Array, num_classes: int) -> None:
    """Raise ValueError unless every label is a whole number in 0 .. num_classes - 1 (a negative index would wrap)."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}")
    if labels.size == 0 or labels.min() < 0 or labels.max() >= num_classes:
        these = f"these are {labels.min()} to {labels.max()}" if labels.size else "there are none"
        raise ValueError(f"labels must lie in 0 to {num_classes - 1}, {these}")


def cross_entropy(logits: Array, labels: Array) -> tuple[Number, Array]:
    """logits (N, K, ...), labels (N, ...) -> mean loss, dlogits = (softmax - onehot(labels)) / number of labels.

    The maximum is taken out first, so that no exponential overflows.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    wanted = onehot(labels, log_p)
    return -log_p[wanted].mean(), (np.exp(log_p) - wanted) / labels.size


def of_tokens(loss: Callable[..., tuple[Number, Array]], logits: Array, labels: Array) -> tuple[Number, Array]:
    """logits (N, T, K), labels (N, T) -> mean loss over all tokens, dlogits; loss: of rows (N, K) and labels (N,)."""
    if labels.shape != logits.shape[:2]:
        raise ValueError(f"labels of the shape {labels.shape} for outputs of the shape {logits.shape}")
    value, drows = loss(logits.reshape(-1, logits.shape[2]), labels.reshape(-1))
    return value, drows.reshape(logits.shape)


def nll(log_p: Array, labels: Array) -> tuple[Number, Array]:
    """Log-probabilities (N, K, ...), labels (N, ...) -> mean of -log_p at the labels, its gradient."""
    wanted = onehot(labels, log_p)
    return -log_p[wanted].mean(), wanted * log_p.dtype.type(-1 / labels.size)


def soft_cross_entropy(
    logits: Array,
    target: Array,
    smooth: float = 0.0,
    weights: tuple[float, ...] | None = None,
    ignore: int | None = None,
) -> tuple[Number, Array]:
    """logits (N, K, ...), target labels (N, ...) or probabilities (N, K, ...) -> mean loss, dlogits.

    The loss of one place is -sum over k of t_k * log(softmax_k), t_k = weights_k * ((1 - smooth) * target_k +
    smooth / K), weights 1 if there are none (label smoothing: Szegedy et al. 2016, section 7); dlogits =
    sum(t) * softmax - t. The mean of labels is by their weights, that of probabilities by places, as in PyTorch. Places
    of the label `ignore` do not count; where all are such, the loss is 0.
    """
    wanted = probabilities_of(kept_labels(target, ignore), logits)
    t = (1 - smooth) * wanted + smooth / logits.shape[1]
    if ignore is not None:
        t *= np.expand_dims(target != ignore, 1)
    if weights is not None:
        t *= np.asarray(weights, logits.dtype).reshape(-1, *[1] * (logits.ndim - 2))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    size = total_weight(target, weights, logits.shape[1], ignore) or 1.0
    return -(t * log_p).sum() / size, (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t) / size


def weighted_nll(
    log_p: Array, labels: Array, weights: tuple[float, ...] | None = None, ignore: int | None = None
) -> tuple[Number, Array]:
    """Log-probabilities (N, K, ...), labels (N, ...) -> mean of -log_p at the labels by the weights of their classes,
    its gradient. Places of the label `ignore` do not count; where all are such, the loss is 0."""
    wanted = onehot(kept_labels(labels, ignore), log_p).astype(log_p.dtype)
    if weights is not None:
        wanted *= np.asarray(weights, log_p.dtype).reshape(-1, *[1] * (log_p.ndim - 2))
    if ignore is not None:
        wanted *= np.expand_dims(labels != ignore, 1)
    size = total_weight(labels, weights, log_p.shape[1], ignore) or 1.0
    return -(wanted * log_p).sum() / size, wanted / -size


def kept_labels(labels: Array, ignore: int | None) -> Array:
    """labels (N, ...) -> the same with some class in place of `ignore`, which may be none of them."""
    return labels if ignore is None else np.where(labels == ignore, 0, labels)


def total_weight(
    target: Array, weights: tuple[float, ...] | None, num_classes: int, ignore: int | None = None
) -> float:
    """What a mean over targets (N, ...) divides by: the sum of the labels' weights, else how many places there are;
    without those of the label `ignore`."""
    if not np.issubdtype(target.dtype, np.integer):
        return target.size / num_classes
    kept = target if ignore is None else target[target != ignore]
    if weights is None:
        return kept.size
    if kept.size:
        check_labels(kept, num_classes)
    return float(np.asarray(weights)[kept].sum())


def probabilities_of(target: Array, like: Array) -> Array:
    """Labels (N, ...) or probabilities (N, K, ...) -> probabilities, with the shape and dtype of `like`. Raises
    ValueError."""
    if np.issubdtype(target.dtype, np.integer):
        return onehot(target, like).astype(like.dtype)
    if target.shape != like.shape:
        raise ValueError(f"probabilities of the shape {target.shape} for outputs of the shape {like.shape}")
    if not (target.size and target.min() >= 0):
        raise ValueError(f"probabilities must be at least 0, the least is {target.min() if target.size else 'none'}")
    return target.astype(like.dtype)


def onehot(labels: Array, like: Array) -> Array:
    """labels (N, ...) -> booleans of the shape of `like` (N, K, ...), True in class `label`. Raises ValueError."""
    num_classes = like.shape[1]
    if labels.shape != like.shape[:1] + like.shape[2:]:
        raise ValueError(f"labels of the shape {labels.shape} for outputs of the shape {like.shape}")
    check_labels(labels, num_classes)
    return np.expand_dims(labels, 1) == np.arange(num_classes).reshape(-1, *[1] * (like.ndim - 2))


def mse(y: Array, target: Array) -> tuple[Number, Array]:
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


def bce(logits: Array, target: Array) -> tuple[Number, Array]:
    """logits (N, ...), target the same shape, 0 to 1 -> mean binary cross-entropy, dlogits = (sigmoid - target) / size.

    -target * log(p) - (1 - target) * log(1 - p), p = sigmoid(logit), is log(1 + exp(-|logit|)) plus the part of |logit|
    that stands on the wrong side: nothing overflows or cancels. Labels (N, ...) of 0 and 1 do for logits (N, 1, ...).
    """
    if np.issubdtype(target.dtype, np.integer) and logits.shape == (len(target), 1, *target.shape[1:]):
        target = np.expand_dims(target, 1)
    if target.shape != logits.shape:
        raise ValueError(f"the targets have the shape {target.shape}, the network's outputs {logits.shape}")
    if not (target.size and target.min() >= 0 and target.max() <= 1):
        these = f"these are {target.min()} to {target.max()}" if target.size else "there are none"
        raise ValueError(f"targets must lie in 0 to 1, {these}")
    target = target.astype(logits.dtype)
    wrong = (1 - target) * np.maximum(logits, 0) + target * np.maximum(-logits, 0)
    loss = (wrong + np.log1p(np.exp(-np.abs(logits)))).mean()
    return loss, (sigmoid(logits) - target) / logits.size
