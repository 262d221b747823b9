# -*- coding: utf-8 -*-
"""Squeezenet10 in PyTorch, 3x224x224 -> 1000, 1,248,424 parameters. Written by `netdsl compile --target torch`."""
import torch
from torch import nn

INPUT_SHAPE = (3, 224, 224)


class Fire(nn.Module):
    """block fire(s, e)"""

    def __init__(self, in_channels, s, e):
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, s, 1)
        self.expand1x1 = nn.Conv2d(s, e, 1)
        self.expand3x3 = nn.Conv2d(s, e, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.squeeze(x))  # (N, s, ...)
        y = torch.relu(self.expand1x1(x))  # (N, e, ...)
        x = torch.relu(self.expand3x3(x))
        return torch.cat([y, x], dim=1)  # (N, e + e, ...)


class Squeezenet10(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(96, 16, 64),
            Fire(128, 16, 64),
            Fire(128, 32, 128),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(256, 32, 128),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Conv2d(512, 1000, 1),
            nn.ReLU(),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )

    def forward(self, x):
        x = self.features(x)  # (N, 512, 13, 13)
        return self.classifier(x)  # (N, 1000)


Model = Squeezenet10
