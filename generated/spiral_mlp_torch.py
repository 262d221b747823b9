# -*- coding: utf-8 -*-
"""SpiralMlp in PyTorch, 2 -> 3, 675 parameters. Written by `netdsl compile --target torch`."""
import torch
from torch import nn

INPUT_SHAPE = (2,)


class SpiralMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1 = nn.Linear(2, 32)
        self.linear2 = nn.Linear(32, 16)
        self.linear3 = nn.Linear(16, 3)

    def forward(self, x):
        x = torch.relu(self.linear1(x))  # (N, 32)
        x = torch.relu(self.linear2(x))  # (N, 16)
        return self.linear3(x)  # (N, 3)


Model = SpiralMlp
