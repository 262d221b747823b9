# -*- coding: utf-8 -*-
"""Unet in PyTorch, 1x256x256 -> 2x256x256, 31,030,658 parameters. Written by `netdsl compile --target torch`."""
import torch
from torch import nn

INPUT_SHAPE = (1, 256, 256)


class Dc(nn.Module):
    """block dc(c)"""

    def __init__(self, in_channels, c):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        x = self.conv2(torch.relu(self.conv1(x)))  # (N, c, ...)
        return torch.relu(x)


class UnetBlock2(nn.Module):
    """block unet(c, depth), where depth <= 0"""

    def __init__(self, in_channels, c):
        super().__init__()
        self.dc1 = Dc(in_channels, c)

    def forward(self, x):
        return self.dc1(x)  # (N, c, ...)


class UnetBlock(nn.Module):
    """block unet(c, depth), where depth > 0"""

    def __init__(self, in_channels, c, unet1):
        super().__init__()
        self.dc1 = Dc(in_channels, c)
        self.pool1 = nn.MaxPool2d(2)
        self.unet1 = unet1
        self.up1 = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.dc2 = Dc(c + c, c)

    def forward(self, x):
        x = self.dc1(x)  # (N, c, ...)
        y = self.pool1(x)
        y = self.unet1(y)  # (N, 2 * c, ...)
        y = self.up1(y)  # (N, c, ...)
        x = torch.cat([x, y], dim=1)  # (N, c + c, ...)
        return self.dc2(x)  # (N, c, ...)


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.unet1 = UnetBlock(
            1, 64,
            unet1=UnetBlock(
                64, 128,
                unet1=UnetBlock(
                    128, 256,
                    unet1=UnetBlock(
                        256, 512,
                        unet1=UnetBlock2(512, 1024),
                    ),
                ),
            ),
        )
        self.conv1 = nn.Conv2d(64, 2, 1)

    def forward(self, x):
        x = self.unet1(x)  # (N, 64, 256, 256)
        return self.conv1(x)  # (N, 2, 256, 256)


Model = Unet
