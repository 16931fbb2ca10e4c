"""Spaces as users define them, in a file of their own."""

# ruff: noqa: RUF012 - dictionaries as users write them
from torch import nn

from predictnas.spaces import DeclaredSpace


class SmallNets(DeclaredSpace):
    """Convolutional networks of one or two stages, the second of which may be separable."""

    name = "small-nets"
    choices = {
        "stages": (1, 2),
        "width": (4, 8),
        "kernel": (1, 3),
        "separable": (False, True),
        "kernel_2": (3, 5),
        "activation": ("relu", "gelu", "silu"),
        "dropout": (0.0, 0.25),
        "initialisation": ("default", "orthogonal"),
    }
    conditions = {"separable": {"stages": (2,)}, "kernel_2": {"separable": (True,)}}
    default_scale = {"repeats": 1}
    example_shape = (1, 8, 8)

    def build(self, arch, input_shape, num_classes, repeats):
        chosen = self.options(arch)
        width, kernel = chosen["width"], chosen["kernel"]
        activation = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}[chosen["activation"]]
        layers = [
            nn.Conv2d(input_shape[0], width, kernel, padding="same"),
            nn.BatchNorm2d(width),
            activation(),
        ]
        if chosen["stages"] == 2:
            layers.append(nn.MaxPool2d(2))
            for _ in range(repeats):
                if chosen["separable"]:
                    wide = chosen["kernel_2"]
                    layers.append(nn.Conv2d(width, width, wide, padding="same", groups=width))
                layers += [nn.Conv2d(width, width, 1), activation()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(chosen["dropout"])]
        network = nn.Sequential(*layers, nn.Linear(width, num_classes))
        if chosen["initialisation"] == "orthogonal":
            nn.init.orthogonal_(network[-1].weight)
        return network


class Perceptrons(DeclaredSpace):
    """Perceptrons of one or two hidden layers."""

    name = "perceptrons"
    choices = {
        "layers": (1, 2),
        "width": (8, 16),
        "width_2": (8, 16),
        "activation": ("relu", "tanh"),
        "dropout": (0.0, 0.25),
    }
    conditions = {"width_2": {"layers": (2,)}}
    example_shape = (1, 8, 8)

    def build(self, arch, input_shape, num_classes):
        chosen = self.options(arch)
        layers = [nn.Flatten()]
        for name in ("width", "width_2"):
            if name in chosen:
                activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[chosen["activation"]]
                layers += [nn.LazyLinear(chosen[name]), activation(), nn.Dropout(chosen["dropout"])]
        return nn.Sequential(*layers, nn.LazyLinear(num_classes))
