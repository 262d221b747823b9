# -*- coding: utf-8 -*-
"""CifarCnn in PyTorch, 3x32x32 -> 10, 25,578 parameters. Written by `netdsl compile --target torch`."""
import torch
from torch import nn

INPUT_SHAPE = (3, 32, 32)


class CifarCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("input_mean", torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None], persistent=False)
        self.register_buffer("input_std", torch.tensor([0.247, 0.2435, 0.2616])[:, None, None], persistent=False)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool2 = nn.MaxPool2d(2)
        self.linear1 = nn.Linear(2048, 10)

    def forward(self, x):
        x = x / 255 if x.dtype == torch.uint8 else x  # bytes or floats
        x = (x - self.input_mean) / self.input_std
        x = torch.relu(self.conv1(x))  # (N, 16, 32, 32)
        x = self.pool1(x)  # (N, 16, 16, 16)
        x = torch.relu(self.conv2(x))  # (N, 32, 16, 16)
        x = self.pool2(x)  # (N, 32, 8, 8)
        x = torch.flatten(x, 1)  # (N, 2048)
        return self.linear1(x)  # (N, 10)


Model = CifarCnn
