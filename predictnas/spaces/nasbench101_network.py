"""The network of NAS-Bench-101, in one file that needs torch alone.

References
----------
C. Ying, A. Klein, E. Christiansen, E. Real, K. Murphy, F. Hutter. NAS-Bench-101: Towards
reproducible neural architecture search. ICML 2019 (arXiv:1902.09635).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["NasBench101Network"]

STAGES = 3


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch normalisation, ReLU.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    kernel_size
        Side of the kernel; the padding keeps the size.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H, W)."""
        out: Tensor = self.op(x)
        return out


def make_operation(name: str, channels: int) -> nn.Module:
    """Return the operation on a vertex, for `channels` channels in and out.

    Raises
    ------
    ValueError
        If the name is none of the three operations of the space.
    """
    if name == "conv1x1-bn-relu":
        return ConvBNReLU(channels, channels, kernel_size=1)
    if name == "conv3x3-bn-relu":
        return ConvBNReLU(channels, channels, kernel_size=3)
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    raise ValueError(
        f"expected conv1x1-bn-relu, conv3x3-bn-relu or maxpool3x3, found {name!r}; use one of these"
    )


def vertex_widths(matrix: Sequence[Sequence[int]], channels: int) -> list[int]:
    """Return the channels of every vertex of a cell behind the input.

    The vertices that lead to the output share its channels evenly, the first of them taking what
    is left over; the others are as wide as the widest that they lead to.

    Parameters
    ----------
    matrix
        The upper triangular adjacency matrix of a pruned cell.
    channels
        Channels of the output. Where they are fewer than the vertices that lead to it, every
        vertex has one.

    Returns
    -------
    list of int
        One number a vertex; that of the input, which is not used, is 0.
    """
    last = len(matrix) - 1
    ends = [vertex for vertex in range(1, last) if matrix[vertex][last]]
    widths = [0] * last + [channels]
    for number, vertex in enumerate(ends):
        widths[vertex] = max(1, channels // len(ends) + (number < channels % len(ends)))
    for vertex in range(last - 1, 0, -1):
        if vertex not in ends:
            widths[vertex] = max(
                widths[target] for target in range(vertex + 1, last) if matrix[vertex][target]
            )
    return widths


class Cell(nn.Module):
    """A vertex applies its operation to the sum over its incoming edges; the output concatenates.

    An edge from the input is a 1 × 1 convolution with batch normalisation and ReLU. Where a vertex
    is wider than one that it leads to, the last channels are left out. An edge from the input to
    the output is added to the concatenation.

    Parameters
    ----------
    matrix
        The upper triangular adjacency matrix of a pruned cell, input first, output last.
    operations
        The operations of the vertices between.
    in_channels, channels
        Channels of the input and of the output.
    """

    def __init__(
        self,
        matrix: Sequence[Sequence[int]],
        operations: Sequence[str],
        in_channels: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.matrix = matrix
        self.widths = vertex_widths(matrix, channels)
        self.projections = nn.ModuleDict(
            {
                str(vertex): ConvBNReLU(in_channels, self.widths[vertex], kernel_size=1)
                for vertex in range(1, len(matrix))
                if matrix[0][vertex]
            }
        )
        self.vertices = nn.ModuleList(
            make_operation(name, width)
            for name, width in zip(operations, self.widths[1:-1], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, channels, H, W)."""
        values = [x]
        for vertex, operation in enumerate(self.vertices, start=1):
            width = self.widths[vertex]
            total = self._sum(x, vertex, [value[:, :width] for value in self._into(vertex, values)])
            values.append(operation(total))
        ends = self._into(len(self.vertices) + 1, values)
        merged = [torch.cat(ends, dim=1)[:, : self.widths[-1]]] if ends else []
        return self._sum(x, len(self.vertices) + 1, merged)

    def _into(self, target: int, values: list[Tensor]) -> list[Tensor]:
        """Return the values of the vertices between that lead to `target`."""
        return [
            value for source, value in enumerate(values) if source and self.matrix[source][target]
        ]

    def _sum(self, x: Tensor, target: int, terms: list[Tensor]) -> Tensor:
        """Add up `terms` and, where there is an edge, the projection of the input."""
        if self.matrix[0][target]:
            terms = [*terms, self.projections[str(target)](x)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


class NasBench101Network(nn.Module):
    """Stem, three stages of cells with max-pooling between them, and a linear head.

    A stage has twice the channels of the one before it, at half its height and width, rounded up.

    As published, the weights of convolutions start with a variance of one over the number of
    inputs, and those of the head as Glorot and Bengio (AISTATS 2010) have it. The running averages
    of batch normalisation move faster than published, at the pace of torch, for short trainings.

    Parameters
    ----------
    matrix
        The upper triangular adjacency matrix of the pruned cell, input first, output last.
    operations
        The operations of the vertices between.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    channels
        Channels of the first stage; the last has four times as many.
    cells
        Cells in a stage.
    """

    def __init__(
        self,
        matrix: Sequence[Sequence[int]],
        operations: Sequence[str],
        in_channels: int,
        num_classes: int,
        channels: int,
        cells: int,
    ) -> None:
        super().__init__()
        self.stem = ConvBNReLU(in_channels, channels, kernel_size=3)
        self.stages = nn.ModuleList()
        before = channels
        for stage in range(STAGES):
            layers = nn.Sequential()
            if stage > 0:
                # Rounding up changes nothing for even sizes, and leaves something of small images.
                layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
            width = channels * 2**stage
            for _ in range(cells):
                layers.append(Cell(matrix, operations, before, width))
                before = width
            self.stages.append(layers)
        self.classifier = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits
