"""The network against published and worked-out counts, and the paper written out."""

import json
import math

import pytest
import torch
from torch import nn

from predictnas.spaces import Transformer
from predictnas.spaces.transformer_network import Attention, Block

SPACE = Transformer()
TINY = {"layer_num": 12, "embed_dim": 192, "num_heads": [3] * 14, "mlp_ratio": [4] * 14}
MIXED = {
    "layer_num": 13,
    "embed_dim": 216,
    "num_heads": [3, 4] * 7,
    "mlp_ratio": [3.5, 3.5, 4, 4, 3.5, 4, 4] * 2,
}


def built(members, shape=(3, 224, 224), classes=1000, **scale):
    return SPACE.build(SPACE.parse(json.dumps(members)), shape, classes, **scale)


def counted(members, pixels, tokens, classes):
    """Count the parameters of the published network, without relative positions."""
    width = members["embed_dim"]
    total = (pixels + 1) * width + width + (tokens + 1) * width
    for block in range(members["layer_num"]):
        inside = 64 * members["num_heads"][block]
        hidden = int(width * members["mlp_ratio"][block])
        total += 4 * width + (width + 1) * 3 * inside + (inside + 1) * width
        total += (width + 1) * hidden + (hidden + 1) * width
    return total + 2 * width + (width + 1) * classes


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_it_contains_deit_tiny_with_its_published_number_of_parameters():
    with torch.device("meta"):
        network = built(TINY, channels=64, patches=14)
    assert parameters(network) == counted(TINY, 3 * 16 * 16, 14 * 14, 1000) == 5_717_416


def test_parameters_are_those_counted_by_hand():
    largest = {"layer_num": 14, "embed_dim": 240, "num_heads": [4] * 14, "mlp_ratio": [4] * 14}
    for members in (MIXED, largest):
        with torch.device("meta"):
            network = built(members, (1, 28, 42), 10, channels=64, patches=7)
        assert parameters(network) == counted(members, 4 * 6, 7 * 7, 10)


def normalised(x, state, prefix):
    centred = x - x.mean(dim=-1, keepdim=True)
    x = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return x * state[f"{prefix}.weight"] + state[f"{prefix}.bias"]


def linear(x, state, prefix):
    return x @ state[f"{prefix}.weight"].T + state[f"{prefix}.bias"]


def published(x, state, members, channels, patch):
    """Compute the network of the paper for whole patches from a state dictionary."""
    size, rows, columns = len(x), x.shape[2] // patch[0], x.shape[3] // patch[1]
    x = x.reshape(size, x.shape[1], rows, patch[0], columns, patch[1])
    x = x.permute(0, 2, 4, 1, 3, 5).reshape(size, rows * columns, -1)
    x = x @ state["patch_embed.weight"].flatten(1).T + state["patch_embed.bias"]
    x = torch.cat([state["cls_token"].repeat(size, 1, 1), x], dim=1) + state["pos_embed"]
    for block in range(members["layer_num"]):
        prefix, heads = f"blocks.{block}", members["num_heads"][block]
        tokens = normalised(x, state, f"{prefix}.attn_layer_norm")
        both = linear(tokens, state, f"{prefix}.attn.qkv")
        queries, keys, values = both.split(heads * channels, dim=-1)
        results = []
        for head in range(heads):
            part = slice(head * channels, (head + 1) * channels)
            scores = torch.einsum("bic,bjc->bij", queries[..., part], keys[..., part])
            weights = torch.exp(scores / math.sqrt(channels))
            weights = weights / weights.sum(dim=-1, keepdim=True)
            results.append(torch.einsum("bij,bjc->bic", weights, values[..., part]))
        x = x + linear(torch.cat(results, dim=-1), state, f"{prefix}.attn.proj")
        hidden = linear(normalised(x, state, f"{prefix}.ffn_layer_norm"), state, f"{prefix}.fc1")
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = x + linear(hidden, state, f"{prefix}.fc2")
    return linear(normalised(x, state, "norm")[:, 1:].mean(dim=1), state, "head")


def test_outputs_agree_with_the_paper_written_out():
    generator = torch.Generator().manual_seed(0)
    for members in (TINY, MIXED):
        network = built(members, (2, 6, 9), 5, channels=4, patches=3).double().eval()
        for value in network.state_dict().values():
            value.copy_(torch.randn(value.shape, generator=generator, dtype=value.dtype) / 2)
        images = torch.randn(3, 2, 6, 9, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            expected = published(images, network.state_dict(), members, 4, (2, 3))
            assert expected.std() > 1e-3
            torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize(
    ("shape", "patches", "patch", "tokens"),
    [
        ((3, 224, 224), 14, (16, 16), 196),
        ((1, 12, 12), 8, (2, 2), 36),
        ((1, 8, 8), 8, (1, 1), 64),
        ((2, 9, 8), 2, (5, 4), 4),
        ((1, 4, 40), 8, (1, 5), 32),
        ((1, 10, 7), 4, (3, 2), 16),
        ((1, 4, 4), 100, (1, 1), 16),
    ],
)
def test_patches_are_as_large_as_it_takes(shape, patches, patch, tokens):
    network = built(TINY, shape, 3, channels=1, patches=patches)
    assert network.patch_embed.kernel_size == network.patch_embed.stride == patch
    assert network.pos_embed.shape[1] == 1 + tokens
    logits = network(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


def test_an_image_that_does_not_fit_ends_in_zeros():
    images = torch.randn(2, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images, (0, 0, 0, 1))
    whole = built(TINY, (1, 10, 8), 3, channels=2, patches=2).eval()
    cut = built(TINY, (1, 9, 8), 3, channels=2, patches=2).eval()
    cut.load_state_dict(whole.state_dict())
    assert torch.equal(cut(images), whole(padded))


def test_channels_scale_heads_and_widths():
    network = built({**TINY, "embed_dim": 216, "num_heads": [4] * 14}, (1, 8, 8), 2, channels=8)
    block = network.blocks[0]
    assert network.patch_embed.out_channels == 27
    assert (block.attn.qkv.in_features, block.attn.qkv.out_features) == (27, 3 * 4 * 8)
    assert (block.attn.proj.in_features, block.attn.proj.out_features) == (4 * 8, 27)
    assert block.fc1.out_features == 4 * 27
    widths = {
        width: built({**TINY, "embed_dim": width}, (1, 8, 8), 2, channels=2, patches=1)
        for width in (192, 216, 240)
    }
    assert [each.head.in_features for each in widths.values()] == [6, 7, 8]


def test_without_positions_the_order_of_patches_makes_no_difference():
    network = built(TINY, (1, 4, 4), 3, channels=4, patches=4).double().eval()
    images = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    turned = images.flip(3)
    with torch.no_grad():
        assert (network(images) - network(turned)).abs().max() > 1e-6
        network.pos_embed.zero_()
        torch.testing.assert_close(network(images), network(turned))


def test_a_block_whose_layers_return_zero_is_the_identity():
    block = Block(6, 3, 4, 5)
    for layer in (block.attn.proj, block.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)


def test_attention_is_torchs_where_the_widths_agree():
    attention = Attention(6, 2, 3).double()
    reference = nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        reference.in_proj_weight.copy_(attention.qkv.weight)
        reference.in_proj_bias.copy_(attention.qkv.bias)
        reference.out_proj.weight.copy_(attention.proj.weight)
        reference.out_proj.bias.copy_(attention.proj.bias)
    x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(attention(x), reference(x, x, x)[0])


def test_weights_start_with_a_variance_of_one_over_the_inputs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = built(TINY, (1, 28, 28), 10, channels=64, patches=14)
    block = network.blocks[3]
    for layer in (block.attn.qkv, block.attn.proj, block.fc1, block.fc2):
        assert layer.weight.std().item() == pytest.approx(layer.in_features**-0.5, rel=0.02)
        assert not layer.bias.any()
    assert network.pos_embed.std().item() == pytest.approx(1, rel=0.02)


def test_it_is_exported_for_batches_of_any_size():
    network = built(TINY, (1, 9, 8), 2, channels=1, patches=2).eval()
    images = torch.randn(5, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (images[:2],), dynamic_shapes=({0: batch},)).module()
    for each in (images, images[:1]):
        torch.testing.assert_close(program(each), network(each))
