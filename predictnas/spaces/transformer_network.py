"""The network of the AutoFormer space, in one file that needs torch alone.

References
----------
M. Chen, H. Peng, J. Fu, H. Ling. AutoFormer: Searching transformers for visual recognition.
ICCV 2021 (arXiv:2107.00651). A. Dosovitskiy et al. An image is worth 16x16 words: Transformers for
image recognition at scale. ICLR 2021 (arXiv:2010.11929).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["TransformerNetwork"]

# Channels of a head in the paper, in proportion to which the embedding is narrower here.
HEAD_CHANNELS = 64


class Attention(nn.Module):
    r"""Multi-head self-attention with a width of its own.

    For each head, :math:`\mathrm{softmax}(Q K^\top / \sqrt{c}) V`. It is written out, since fused
    kernels cannot be differentiated twice.

    Parameters
    ----------
    width
        Channels of a token before and after.
    heads
        How many heads.
    channels
        Channels of queries, keys and values of each head, `c`.
    """

    def __init__(self, width: int, heads: int, channels: int) -> None:
        super().__init__()
        self.heads, self.channels = heads, channels
        self.qkv = nn.Linear(width, 3 * heads * channels)
        self.proj = nn.Linear(heads * channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (batch, tokens, width) to the same shape."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, self.channels)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (queries @ keys.transpose(2, 3) * self.channels**-0.5).softmax(dim=3)
        out: Tensor = self.proj((weights @ values).transpose(1, 2).reshape(batch, tokens, -1))
        return out


class Block(nn.Module):
    """Attention, then a perceptron of one hidden layer, both normalised before and residual.

    Parameters
    ----------
    width
        Channels of a token.
    heads, channels
        See `Attention`.
    hidden
        Units of the hidden layer.
    """

    def __init__(self, width: int, heads: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.attn_layer_norm = nn.LayerNorm(width)
        self.attn = Attention(width, heads, channels)
        self.ffn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (batch, tokens, width) to the same shape."""
        x = x + self.attn(self.attn_layer_norm(x))
        out: Tensor = x + self.fc2(self.act(self.fc1(self.ffn_layer_norm(x))))
        return out


class TransformerNetwork(nn.Module):
    """Patch embedding, class token, position embeddings, blocks, and a linear head.

    As published, the head sees the mean over the tokens of the patches; the class token takes part
    in attention. Weights of linear layers start with variance one over the number of inputs, class
    token and positions with variance one: from the published deviation of 0.02, plain gradient
    descent hardly moves networks as narrow as those trained here.

    Parameters
    ----------
    width
        Channels of a token at the published scale: 192, 216 or 240.
    heads, mlp_ratios
        For each block the number of heads, and by how much its hidden layer is wider than a token.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    channels
        Channels of a head; the width is in proportion. 64 are published.
    patches
        How many patches there are along a side at most.
    image_size
        Height and width of the images.
    """

    def __init__(
        self,
        width: int,
        heads: Sequence[int],
        mlp_ratios: Sequence[float],
        in_channels: int,
        num_classes: int,
        channels: int,
        patches: int,
        image_size: tuple[int, int],
    ) -> None:
        super().__init__()
        width = max(1, round(width * channels / HEAD_CHANNELS))
        size = [-(-side // patches) for side in image_size]
        rows, columns = (-(-side // patch) for side, patch in zip(image_size, size, strict=True))
        # Zeros on the right and below, in the order in which torch wants them.
        self.padding = (0, columns * size[1] - image_size[1], 0, rows * size[0] - image_size[0])
        self.patch_embed = nn.Conv2d(in_channels, width, (size[0], size[1]), (size[0], size[1]))
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + rows * columns, width))
        self.blocks = nn.ModuleList(
            Block(width, number, channels, int(width * ratio))
            for number, ratio in zip(heads, mlp_ratios, strict=True)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        nn.init.normal_(self.cls_token)
        nn.init.normal_(self.pos_embed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.patch_embed(functional.pad(x, self.padding))
        x = torch.flatten(x, 2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x)[:, 1:].mean(dim=1))
        return logits
