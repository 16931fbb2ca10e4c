import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from proxies import Probe, UndefinedProxyError
from proxies.passes.forward import Forward, mean_loss
from proxies.passes.layers import OverwrittenError
from proxies.subject import Subject, subject_of


def subject(model: nn.Module, batch, **options) -> Subject:
    return subject_of(model, batch, device="cpu", **options)


def in_place(inplace: bool) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(4, 4, 3),
        nn.SiLU(inplace=inplace),
        nn.Flatten(),
        nn.Linear(64, 5),
    )


def test_parts_add_up_to_the_whole(make, batch):
    model = make("group_normalised")
    whole = subject(model, batch)
    shares = []
    for rows in (slice(0, 4), slice(4, 6)):
        with whole.lent(training=True) as leaves:
            shares.append(Forward(whole, leaves, rows).loss_gradients)
    functional.cross_entropy(model(batch[0]), batch[1]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(shares[0][name] + shares[1][name], parameter.grad)


def test_layers_that_are_written_into_are_watched_with_copies(batch):
    found = []
    for inplace in (False, True):
        prepared = subject(in_place(inplace), batch)
        options = {"watch_layers": True, "copies": inplace, "twice": True}
        with prepared.lent(training=True) as leaves:
            forward = Forward(prepared, leaves, slice(0, 6), **options)
            found.append([call.output.detach() for call in forward.watcher.calls])
            found.append([gradient.detach() for gradient in forward.layer_gradients])
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[3])
    assert len(found[0]) == 3
    with prepared.lent(training=True) as leaves, pytest.raises(OverwrittenError):
        Forward(prepared, leaves, slice(0, 6), watch_layers=True)


@pytest.mark.parametrize("reads", [("hessian_form",), ("hessian_form", "channel_saliency")])
def test_writing_in_place_changes_no_second_derivative(reads, batch):
    # The mistake: a stand-in for convolutions that reads their result again after that.
    values = [
        Probe(in_place(inplace), batch, device="cpu", reads=reads).hessian_form
        for inplace in (False, True)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_what_is_not_reached_has_gradient_zero(batch):
    model = in_place(False)
    model.register_parameter("unused", nn.Parameter(torch.ones(3)))
    assert Probe(model, batch, device="cpu").loss_gradients["unused"].tolist() == [0.0] * 3


def test_losses_of_images_and_pixels(batch):
    _, y = batch
    prepared = subject(nn.Flatten(), batch)
    output = torch.randn(6, 5)
    expected = functional.cross_entropy(output, y)
    assert mean_loss(prepared, output, y) == expected
    assert mean_loss(prepared, output, y.to(torch.uint8)) == expected
    pixels = torch.arange(6 * 4).reshape(6, 2, 2) % 5
    images = torch.randn(6, 5, 2, 2)
    assert mean_loss(prepared, images, pixels) == functional.cross_entropy(images, pixels)


@pytest.mark.parametrize(
    ("output", "labels", "message"),
    [
        (torch.ones(6), torch.ones(6).long(), "found output (6,) and labels (6,)"),
        (torch.ones(6, 5), torch.ones(6), "expected labels that are class numbers"),
        (torch.ones(6, 5), 5 * torch.ones(6).long(), "expected labels from 0 to 4"),
        (torch.ones(6, 5), None, "expected labels for the loss, found none in the batch"),
    ],
)
def test_losses_that_have_no_value_say_why(output, labels, message, batch):
    with pytest.raises(UndefinedProxyError, match=re.escape(message)):
        mean_loss(subject(nn.Flatten(), batch), output, labels)
