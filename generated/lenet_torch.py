# -*- coding: utf-8 -*-
"""Lenet in PyTorch, 1x28x28 -> 10, 454,922 parameters. Written by `netdsl compile --target torch`."""
import torch
from torch import nn

INPUT_SHAPE = (1, 28, 28)


class Lenet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.pool2 = nn.MaxPool2d(2)
        self.linear1 = nn.Linear(3136, 128)
        self.linear2 = nn.Linear(128, 10)

    def forward(self, x):
        x = torch.relu(self.conv1(x))  # (N, 32, 28, 28)
        x = self.pool1(x)  # (N, 32, 14, 14)
        x = torch.relu(self.conv2(x))  # (N, 64, 14, 14)
        x = self.pool2(x)  # (N, 64, 7, 7)
        x = torch.flatten(x, 1)  # (N, 3136)
        x = torch.relu(self.linear1(x))  # (N, 128)
        return self.linear2(x)  # (N, 10)


Model = Lenet
