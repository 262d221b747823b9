# -*- coding: utf-8 -*-
"""BnCnn in PyTorch, 1x28x28 -> 10, 468,138 parameters. Written by `netdsl compile --target torch`."""
import torch
from torch import nn

INPUT_SHAPE = (1, 28, 28)


class BnCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.pool1 = nn.MaxPool2d(2)
        self.dropout2d1 = nn.Dropout2d(0.25)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(64)
        self.conv4 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(64)
        self.pool2 = nn.MaxPool2d(2)
        self.dropout2d2 = nn.Dropout2d(0.25)
        self.linear1 = nn.Linear(3136, 128, bias=False)
        self.bn5 = nn.BatchNorm1d(128)
        self.dropout1 = nn.Dropout(0.5)
        self.linear2 = nn.Linear(128, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))  # (N, 32, 28, 28)
        x = torch.relu(self.bn2(self.conv2(x)))
        x = self.dropout2d1(self.pool1(x))  # (N, 32, 14, 14)
        x = torch.relu(self.bn3(self.conv3(x)))  # (N, 64, 14, 14)
        x = torch.relu(self.bn4(self.conv4(x)))
        x = self.dropout2d2(self.pool2(x))  # (N, 64, 7, 7)
        x = torch.flatten(x, 1)  # (N, 3136)
        x = torch.relu(self.bn5(self.linear1(x)))  # (N, 128)
        x = self.dropout1(x)
        return self.linear2(x)  # (N, 10)


Model = BnCnn
