"""Augmentation: training images, signals and volumes changed at random, and batches mixed."""

from netdsl.training.data.augment.augmentation import Augmentation

__all__ = ["Augmentation"]
