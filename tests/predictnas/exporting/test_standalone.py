import pytest
import torch
from torch import nn

from predictnas.exporting.standalone import Normalize, as_batch, normalized


def test_normalize_by_hand():
    images = torch.tensor([[[[3.0]], [[10.0]]]])
    result = Normalize((1.0, 20.0), (2.0, 5.0))(images)
    assert result.tolist() == [[[[1.0]], [[-2.0]]]]


def test_normalized_names_its_parts():
    model = normalized(nn.Conv2d(1, 1, 1), (0.0,), (1.0,))
    assert set(model.state_dict()) == {
        "normalize.mean",
        "normalize.std",
        "network.weight",
        "network.bias",
    }


@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (5, 4, 6, 3)])
def test_as_batch_finds_the_channels(shape):
    assert as_batch(torch.zeros(shape, dtype=torch.uint8), (3, 4, 6)).shape == (5, 3, 4, 6)


def test_as_batch_adds_one_channel_and_makes_floats():
    batch = as_batch(torch.zeros(5, 4, 6, dtype=torch.uint8), (1, 4, 6))
    assert (tuple(batch.shape), batch.dtype) == ((5, 1, 4, 6), torch.float32)


@pytest.mark.parametrize("shape", [(5,), (4, 6), (5, 4, 6), (5, 3, 4, 5), (5, 3, 4, 6, 1)])
def test_as_batch_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"expected images of shape \(n, 3, 4, 6\), found"):
        as_batch(torch.zeros(shape), (3, 4, 6))
