# -*- coding: utf-8 -*-
"""TinyCnn in PyTorch, 1x28x28 -> 10, 13,610 parameters. Written by `netdsl compile --target torch`."""
import torch
from torch import nn

INPUT_SHAPE = (1, 28, 28)


class TinyCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.pool1 = nn.MaxPool2d(2)
        self.linear1 = nn.Linear(1352, 10)

    def logits(self, x):
        x = self.conv1(x)  # (N, 8, 26, 26)
        x = self.pool1(x)  # (N, 8, 13, 13)
        x = torch.flatten(x, 1)  # (N, 1352)
        return self.linear1(x)  # (N, 10)

    def forward(self, x):
        return torch.softmax(self.logits(x), dim=1)  # (N, 10)


Model = TinyCnn
