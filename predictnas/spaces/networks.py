"""Spaces whose networks are classes of a file that needs torch alone."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any

from predictnas.errors import InputError
from predictnas.spaces.base import Arch, ArchLike, Space

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NetworkFileSpace"]

# Below this side nothing is left to look at after the strides of a network.
MIN_SIDE = 4


class NetworkFileSpace(Space):
    """A space whose network is one class, in a file of its own that needs torch alone.

    The file stands beside that of the space and has its name with ``_network`` added; it is
    imported when a network is built, and copied when its source is asked for. A concrete space
    names the class and says with which arguments an architecture calls it.

    Attributes
    ----------
    network
        The name of the class. It takes what `_network_arguments` returns, ``in_channels``,
        ``num_classes`` and the space's scale.
    """

    network: str

    @abstractmethod
    def _network_arguments(self, arch: Arch) -> Mapping[str, object]:
        """Return the arguments of the class that say which architecture it is."""

    def build(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, **scale: int
    ) -> "nn.Module":
        """Return the published network of an architecture, with fresh weights.

        The weights come from torch's global generator: seed it inside
        ``torch.random.fork_rng()`` to draw the same ones again.

        Parameters
        ----------
        arch
            One option index for every choice.
        input_shape
            Channels, height and width of an image; at least 4 × 4.
        num_classes
            The number of outputs.
        scale
            Sizes that differ from `default_scale`.

        Raises
        ------
        InputError
            If an argument cannot be used.
        """
        arguments = self._arguments(arch, input_shape, num_classes, scale)
        module = import_module(self._network_module)
        network: nn.Module = getattr(module, self.network)(**arguments)
        return network

    def network_source(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, **scale: int
    ) -> str:
        """Return Python source that needs torch alone and defines ``build_network()``."""
        arguments = self._arguments(arch, input_shape, num_classes, scale)
        package, _, module = self._network_module.rpartition(".")
        network = resources.files(package).joinpath(f"{module}.py").read_text("utf-8")
        lines = [f"        {name}={value!r}," for name, value in arguments.items()]
        return "\n".join(
            [
                network,
                "",
                f"def build_network() -> {self.network}:",
                '    """Return the network of this architecture, with fresh weights.',
                "",
                f"    {self.format(arch)}",
                '    """',
                f"    return {self.network}(",
                *lines,
                "    )",
                "",
                "",
                '__all__ += ["build_network"]',
                "",
            ]
        )

    @property
    def _network_module(self) -> str:
        # Of the class that names the network: a space derived from it may stand anywhere.
        owner = next(kind for kind in type(self).__mro__ if "network" in vars(kind))
        return f"{owner.__module__}_network"

    def _arguments(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, scale: Mapping[str, int]
    ) -> dict[str, Any]:
        return {
            **self._network_arguments(self._one(arch)),
            "in_channels": _checked_shape(input_shape)[0],
            "num_classes": _checked_classes(num_classes),
            **self._scale(scale),
        }


def _checked_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    shape = tuple(input_shape)
    if (
        len(shape) != 3
        or not all(isinstance(side, int) for side in shape)
        or shape[0] < 1
        or min(shape[1:]) < MIN_SIDE
    ):
        raise InputError(
            f"expected images of shape (channels, height, width), at least {MIN_SIDE} × "
            f"{MIN_SIDE}, found {shape}; add a channel axis or enlarge the images"
        )
    return shape


def _checked_classes(num_classes: int) -> int:
    if num_classes < 1:
        raise InputError(f"expected at least one class, found {num_classes}; count the labels")
    return num_classes
