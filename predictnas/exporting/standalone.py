"""What an exported network needs around it; needs torch alone, for it is written out with it."""

import argparse
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Standardises images: (x - mean) / std for each channel.

    Parameters
    ----------
    mean, std
        One value for each channel, in the unit of the images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32)[:, None, None])
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, H, W) to standardised ones of the same shape."""
        return (x - self.mean) / self.std


def normalized(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Sequential:
    """Return `network` behind the standardisation it was trained with.

    It maps images (batch, channels, H, W), float32 in their original unit, to logits
    (batch, classes).
    """
    return nn.Sequential(OrderedDict(normalize=Normalize(mean, std), network=network))


def load_state(model: nn.Module, path: Path | str) -> nn.Module:
    """Load weights into `model`, without executing anything from the file; set it to eval mode."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def as_batch(images: Tensor, input_shape: Sequence[int]) -> Tensor:
    """Bring images to (n, channels, H, W) in float32; a last or no channel axis will do.

    Raises
    ------
    ValueError
        If they do not have the shape that the network was trained on.
    """
    channels, height, width = input_shape
    if images.ndim == 3:
        images = images[:, None]
    if images.shape[1:] == (height, width, channels):
        images = images.movedim(3, 1)
    if images.ndim != 4 or images.shape[1:] != (channels, height, width):
        raise ValueError(
            f"expected images of shape (n, {channels}, {height}, {width}), "
            f"found {tuple(images.shape)}; reshape them"
        )
    return images.float()


def classify(
    model: nn.Module, mean: Sequence[float], std: Sequence[float], shape: Sequence[int]
) -> None:
    """Print the predicted class of every image of an .npy file, or of a batch of noise."""
    parser = argparse.ArgumentParser(description="Predict the classes of images, one a line.")
    parser.add_argument(
        "images", nargs="?", type=Path, help=f".npy file, n images of shape {shape}"
    )
    path = parser.parse_args().images
    if path is None:
        noise = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
        scale = torch.tensor(std)[:, None, None]
        images = noise * scale + torch.tensor(mean)[:, None, None]
    else:
        import numpy as np

        try:
            array = np.load(path, allow_pickle=False)
            images = as_batch(torch.from_numpy(array.astype(np.float32)), shape)
        except (OSError, ValueError) as error:
            parser.error(f"{path}: {error}")
    with torch.no_grad():
        for batch in torch.split(images, 512):
            for number in model(batch).argmax(1).tolist():
                sys.stdout.write(f"{number}\n")
