"""LPIPS v0.1 with AlexNet, the learned perceptual distance of Zhang et al. 2018 (arXiv 1801.03924).

The weights are not part of lfqcodec: ImageNet, which they were trained on, is for non-commercial research.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from lfqcodec.errors import WeightsError, WeightsMissing

MIN_SIDE = 31
"""Smallest side that AlexNet's two poolings leave something of."""

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_CHANNELS = (64, 192, 384, 256, 256)


class LPIPS(nn.Module):
    """The distance of pictures as AlexNet sees them. Parameters are frozen; gradients reach the inputs.

    A new one has random weights; `load_lpips` gives the published ones. `features` has the indices of
    torchvision's AlexNet; `lin0` to `lin4` ([1, C, 1, 1]) weigh the channels of its five ReLUs.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        one, two, three, four, five = _CHANNELS
        self.features = nn.Sequential(
            nn.Conv2d(3, one, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(one, two, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(two, three, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(three, four, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(four, five, 3, padding=1),
            nn.ReLU(),
        )
        for index, channels in enumerate(_CHANNELS):
            self.register_parameter(f"lin{index}", nn.Parameter(torch.rand(1, channels, 1, 1)))
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances float32 [N], 0 for equal pictures, of float32 [N, 3, H, W] in [-1, 1].

        Raises `ValueError` for other shapes and for sides under 31 pixels.
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
            raise ValueError(f"LPIPS needs two tensors [N, 3, H, W], not {list(a.shape)} and {list(b.shape)}")
        if min(a.shape[2:]) < MIN_SIDE:
            raise ValueError(f"LPIPS needs at least {MIN_SIDE} pixels a side")
        distance = a.new_zeros(len(a))
        index = 0
        # One after the other, not as one batch: the same pictures then give the same features to the bit.
        x, y = ((p - self.shift) / self.scale for p in (a, b))
        for layer in self.features:
            x, y = layer(x), layer(y)
            if isinstance(layer, nn.ReLU):
                # Differences of features in half precision would be mostly their rounding.
                with torch.autocast(a.device.type, enabled=False):
                    difference = (_unit(x.float()) - _unit(y.float())).square()
                    weighed = F.conv2d(difference, self.get_parameter(f"lin{index}"))
                    distance = distance + weighed.mean((1, 2, 3))
                index += 1
        return distance


def _unit(x: Tensor) -> Tensor:
    """Each pixel's channels scaled to length 1."""
    # The inner bound keeps the gradient finite where ReLU left all channels at zero.
    length = x.square().sum(1, keepdim=True).clamp_min(1e-20).sqrt()
    return x / (length + 1e-10)


def load_lpips(path: Path) -> LPIPS:
    """The network with the weights of a safetensors file: float32, named as in `LPIPS().state_dict()`.

    Raises `WeightsMissing` where there is no such file, `WeightsError` where it holds anything else.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise WeightsMissing(f"{path}: no such file") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error})") from error
    network = LPIPS()
    expected = network.state_dict()
    if wrong := expected.keys() ^ tensors.keys():
        verb = "lacks" if min(wrong) in expected else "has an unknown"
        raise WeightsError(f"{path}: does not hold LPIPS with AlexNet ({verb} tensor {min(wrong)})")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != torch.float32:
            have, want = (
                f"{t.dtype} {list(t.shape)}".removeprefix("torch.") for t in (tensor, expected[name])
            )
            raise WeightsError(f"{path}: does not hold LPIPS with AlexNet ({name} is {have}, not {want})")
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path}: holds values that are not finite ({name})")
    network.load_state_dict(tensors)
    return network
