# -*- coding: utf-8 -*-
"""SimpleCnn in PyTorch, 1x28x28 -> 10, 15,770 parameters. Written by `netdsl compile --target torch`."""
import torch
from torch import nn

INPUT_SHAPE = (1, 28, 28)


class SimpleCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.pool1 = nn.MaxPool2d(2)
        self.linear1 = nn.Linear(1568, 10)

    def forward(self, x):
        x = torch.relu(self.conv1(x))  # (N, 8, 28, 28)
        x = self.pool1(x)  # (N, 8, 14, 14)
        x = torch.flatten(x, 1)  # (N, 1568)
        return self.linear1(x)  # (N, 10)


Model = SimpleCnn
