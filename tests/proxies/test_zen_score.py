import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import proxies

SIZE = 0.01


def score_of(model: nn.Module, x: torch.Tensor, **options) -> proxies.ProxyScore:
    return proxies.score(model, (x, None), ["zen"], **options)["zen"]


def draws(x: torch.Tensor, *weights: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Return the Gaussian x, the Gaussian ε and the Gaussian weights of that seed."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(s, generator=generator) for s in (x.shape, x.shape, *weights))


def redrawn(model: nn.Module, x: torch.Tensor, seed: int = 0) -> nn.Module:
    """Give the convolutions and linear layers of a network the weights of that seed."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    _, _, *weights = draws(x, *(layer.weight.shape for layer in layers), seed=seed)
    with torch.no_grad():
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.zero_()
    return model


def test_by_hand_without_normalisation():
    # g(x) = W x, so that the change is α ‖W ε‖, in the mean over the samples.
    x = torch.zeros(5, 2, dtype=torch.float64)
    _, noise, weight, _ = (part.double().numpy() for part in draws(x, (7, 2), (3, 7), seed=4))
    expected = math.log(SIZE * np.linalg.norm(noise @ weight.T, axis=1).mean())
    model = nn.Sequential(nn.Linear(2, 7), nn.Linear(7, 3)).double()
    assert score_of(model, x, seed=4).value == pytest.approx(expected, rel=1e-6)


class Pixelwise(nn.Module):
    """A weighted sum of the channels, batch normalisation, global pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 1, 1)
        self.norm = nn.BatchNorm2d(1, eps=1e-12)
        self.head = nn.Linear(1, 2)

    def forward(self, x):
        return self.head(self.norm(self.convolution(x)).mean((2, 3)))


def pixelwise_by_hand(x: torch.Tensor, seed: int = 0) -> tuple[float, float]:
    """Return both terms of the score: the change, and the batch normalisation's."""
    shape = (1, x.shape[1], 1, 1)
    clean, noise, weight = (part.double().numpy() for part in draws(x, shape, seed=seed))
    sums = [(v * weight).sum(1) for v in (clean, clean + SIZE * noise)]
    features = [(v - v.mean()) / v.std() for v in sums]
    change = np.linalg.norm((features[0] - features[1]).reshape(len(x), -1), axis=1).mean()
    return math.log(change), math.log(sums[0].std())


@pytest.mark.parametrize("channels", [1, 5, 50])
@pytest.mark.parametrize("seed", [0, 3])
def test_by_hand_with_batch_normalisation(channels, seed):
    x = torch.zeros(4, channels, 3, 3)
    expected = sum(pixelwise_by_hand(x, seed))
    assert score_of(Pixelwise(channels), x, seed=seed).value == pytest.approx(expected, rel=1e-4)


def test_batch_normalisation_is_not_read_off_its_running_variance():
    # The mistake: after two forwards with momentum 0.1, running_var is 0.81 + 0.19 of what the
    # batch has; it drifts with repeats, and stays 1 (log 0) in evaluation mode.
    x = torch.zeros(4, 50, 3, 3)
    model = redrawn(Pixelwise(50), x)
    change, scale = pixelwise_by_hand(x)
    clean, noise = draws(x)
    with torch.no_grad():
        model(clean)
        model(clean + SIZE * noise)
    mistaken = math.log(float(model.norm.running_var.sqrt().mean()))
    assert abs(mistaken - scale) > 0.5
    for _ in range(3):
        assert score_of(model, x).value == pytest.approx(change + scale, rel=1e-4)
    assert score_of(model.eval(), x).value == pytest.approx(change + scale, rel=1e-4)


@pytest.mark.parametrize("kind", ["cells", "residual", "group_normalised", "perceptron"])
def test_a_trained_and_an_untrained_model_score_the_same(kind, make, batch):
    x, y = batch
    model = make(kind)
    untrained = score_of(model, x, seed=3).value
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = nn.utils.parameters_to_vector(model.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    assert not torch.allclose(before, nn.utils.parameters_to_vector(model.parameters()))
    assert score_of(model, x, seed=3).value == untrained


def test_the_default_type_makes_no_difference(make, batch):
    model = make("cells")
    expected = score_of(model, batch[0]).value
    torch.set_default_dtype(torch.float64)
    try:
        assert score_of(model, batch[0]).value == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_weights_differ_from_the_noise():
    # The mistake: a second generator with the same seed, which draws the same numbers again.
    x = torch.zeros(4, 4)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    noise, _ = draws(x)
    clean = proxies.Probe(model, (x, None)).perturbation.clean
    assert not torch.allclose(clean, noise @ noise.T)
    assert torch.allclose(clean, redrawn(model, x)[0](noise))


def test_agrees_with_plain_code(make, batch):
    model = redrawn(make("cells"), batch[0], seed=9).train()
    variances, features = [], []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(
                lambda _, args: variances.append(args[0].var((0, 2, 3), correction=0).mean())
            )
    model.last.register_forward_hook(lambda _, __, out: features.append(out.flatten(1).clone()))
    clean, noise = draws(batch[0], seed=9)
    with torch.no_grad():
        model(clean)
        first = list(variances)
        model(clean + SIZE * noise)
    change = (features[0] - features[1]).norm(dim=1).mean()
    expected = float(change.log() + sum(v.sqrt().log() for v in first))
    assert score_of(make("cells"), batch[0], seed=9).value == pytest.approx(expected, rel=1e-4)


def test_dead_batch_normalisations_do_not_count(make, batch):
    dead = score_of(make("cells", "convolution", "none", "convolution"), batch[0])
    absent = score_of(make("cells", "skip", "none", "convolution"), batch[0])
    constant = score_of(make("cells", "none", "convolution", "convolution"), batch[0])
    assert dead.value == absent.value == pytest.approx(constant.value, rel=1e-5)


def test_dropout_does_not_add_to_the_change(make, batch):
    model = make("perceptron")
    expected = score_of(model, batch[0]).value
    model[3].p = 0.9
    assert score_of(model, batch[0]).value == expected


def test_random_layers_do_the_same_to_both_inputs():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + 100 * torch.randn_like(x)

    first = nn.Linear(4, 4)
    x = torch.zeros(5, 4)
    noisy = score_of(nn.Sequential(first, Noisy(), nn.Linear(4, 2)), x)
    plain = score_of(nn.Sequential(first, nn.Linear(4, 2)), x)
    assert noisy.value == pytest.approx(plain.value, rel=1e-2)


class Head(nn.Module):
    """A convolution with a head that pools or flattens in one of many ways."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        x = functional.relu(self.convolution(x))
        if self.form == "squeeze and excitation":
            x = x * torch.sigmoid(functional.adaptive_avg_pool2d(x, 1))
        x = {
            "adaptive": lambda: functional.adaptive_avg_pool2d(x, 1).flatten(1),
            "window": lambda: functional.avg_pool2d(x, 8).flatten(1),
            "maximum": lambda: x.amax((2, 3)),
            "maxima": lambda: x.flatten(2).max(-1)[0],
            "mean": lambda: x.mean((2, 3)),
            "flat": lambda: x.flatten(1),
            "view": lambda: x.view(len(x), -1),
            "token": lambda: x.flatten(2).transpose(1, 2)[:, 0],
            "squeeze and excitation": lambda: x.mean((2, 3)),
        }[self.form]()
        return self.head(x)


@pytest.mark.parametrize(
    "form",
    ["adaptive", "window", "maximum", "maxima", "mean", "flat", "view", "token",
     "squeeze and excitation"],
)  # fmt: skip
def test_feature_map_is_what_is_pooled(form, batch):
    torch.manual_seed(0)
    model = Head(form)
    model(batch[0])
    clean = proxies.Probe(model, batch).perturbation.clean
    redrawn(model, batch[0])
    with torch.no_grad():
        features = functional.relu(model.convolution(draws(batch[0])[0]))
        if form == "squeeze and excitation":
            features = features * torch.sigmoid(features.mean((2, 3), keepdim=True))
    found, expected = clean.sort().values, features.flatten(1).sort().values
    torch.testing.assert_close(found, expected)


def test_feature_map_of_pixelwise_outputs_is_the_input_of_the_last_layer(batch):
    model = nn.Sequential(nn.Conv2d(3, 7, 3, padding=1), nn.ReLU(), nn.Conv2d(7, 2, 1))
    assert proxies.Probe(model, batch).perturbation.clean.shape == (6, 7 * 64)


def test_a_single_layer_has_no_features(batch):
    score = score_of(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), batch[0])
    assert score.status == (
        "expected a feature map before pooling or two layers one after the other, found neither"
    )


def test_constant_features_are_a_status(make, batch):
    score = score_of(make("cells", "none", "none", "none"), batch[0])
    assert score.status == (
        "expected a feature map that changes with the input, found a constant one"
    )


def test_depends_on_the_seed_and_not_on_the_values_of_the_batch(make, batch):
    x, _ = batch
    one, same, other = (
        score_of(make("cells"), x, seed=1).value,
        score_of(make("cells"), 5 * x, seed=1).value,
        score_of(make("cells"), x, seed=2).value,
    )
    assert one == same != other
    assert other == pytest.approx(one, abs=1.0)
