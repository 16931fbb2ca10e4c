import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import proxies
from proxies import PROXIES, ProxyError
from proxies.network_cost import Latency, measure_latency

SAMPLES = 3


class Function(nn.Module):
    """A forward written as a function of the module and the input, over some layers."""

    def __init__(self, forward, **layers) -> None:
        super().__init__()
        self.function = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.function(self, x)


def score(name: str, model: nn.Module, x: torch.Tensor, **arguments) -> proxies.ProxyScore:
    return proxies.score(model, (x, None), [name], device="cpu", **arguments)[name]


def memory(model: nn.Module, *shape: int, **arguments) -> float:
    found = score("activation_memory", model, torch.randn(SAMPLES, *shape), **arguments)
    assert found.status == "ok"
    return found.value


def depth(model: nn.Module, *shape: int) -> float:
    found = score("depth", model, torch.randn(SAMPLES, *shape))
    assert found.status == "ok"
    return found.value


def small(*middle: nn.Module) -> nn.Module:
    """A convolution to 2 maps of 4 × 4, that is 128 bytes a sample, and a classifier."""
    convolution = nn.Conv2d(1, 2, 3, padding=1)
    return nn.Sequential(convolution, *middle, nn.Flatten(), nn.Linear(32, 5))


# The convolution keeps its input, which is the batch; the linear layer keeps what it is given.
@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        ([], 128),
        # ReLU keeps its result, and the linear layer the same tensor, seen as one row a sample.
        ([nn.ReLU()], 128),
        ([nn.ReLU(inplace=True)], 128),
        # GELU keeps what it was given, and the linear layer what it gave.
        ([nn.GELU()], 256),
        # Normalisation keeps what it was given, and a mean and a scale of 2 channels a batch.
        ([nn.BatchNorm2d(2), nn.ReLU(inplace=True)], 256 + 16 / SAMPLES),
        ([nn.BatchNorm2d(2), nn.ReLU(inplace=False)], 256 + 16 / SAMPLES),
        # One place of a maximum for four values, 8 bytes each.
        ([nn.MaxPool2d(2), nn.Upsample(scale_factor=2)], 128 + 64 + 128),
        # A mask that is not drawn.
        ([nn.Dropout(0.5)], 128),
    ],
)
def test_memory_by_hand(middle, expected):
    assert memory(small(*middle), 1, 4, 4) == pytest.approx(expected, rel=1e-12)


def test_memory_follows_the_type_and_not_the_flags_or_the_batch():
    model = small(nn.GELU()).requires_grad_(False).eval()
    assert memory(model, 1, 4, 4) == 256
    assert memory(model.double(), 1, 4, 4) == 512
    assert memory(model, 1, 4, 4, micro_batch=1) == 512
    assert score("activation_memory", model, torch.randn(7, 1, 4, 4)).value == 512


def test_a_view_keeps_its_storage_once_and_whole():
    layer = nn.Linear(6, 4)
    # The sine and the cosine keep their arguments.
    shared = Function(lambda self, x: (h := self.layer(x)).sin() + h.view(-1, 4).cos(), layer=layer)
    part = Function(lambda self, x: self.layer(x)[:, :1].sin(), layer=layer)
    apart = Function(lambda self, x: (h := self.layer(x)).sin() + h.clone().cos(), layer=layer)
    assert memory(shared, 6) == memory(part, 6) == 16
    assert memory(apart, 6) == 32


def test_what_is_there_anyway_is_not_kept():
    model = nn.Linear(6, 6)
    model.register_buffer("scale", torch.ones(1000, 6))
    forward = Function(lambda self, x: self.layer(x) * self.layer.scale[: len(x)], layer=model)
    assert memory(forward, 6) == 0


def test_a_branch_that_nothing_uses_is_not_kept():
    layers = {"used": nn.Linear(6, 4), "unused": nn.Linear(6, 1000)}

    def forward(self, x):
        self.unused(x).sin()
        return self.used(x).sin()

    assert memory(Function(forward, **layers), 6) == 16


def test_gradients_inside_of_a_forward():
    def force(self, x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.energy(x).sin().sum(), x, create_graph=True)[0]

    for micro_batch in (None, 2):
        assert memory(Function(force, energy=nn.Linear(6, 4)), 6, micro_batch=micro_batch) > 0


def test_depth_counts_layers_not_activations():
    perceptron = nn.Sequential(
        *(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 2))
    )
    assert depth(perceptron, 6) == 3
    assert depth(perceptron, 7, 6) == 3
    assert depth(perceptron[1:3], 5) == 0


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4, bias=False), (6,)),
        (nn.Linear(6, 4, bias=False), (2, 6)),
        (nn.Conv1d(3, 4, 3), (3, 8)),
        (nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"), (4, 8, 8)),
        (nn.Conv3d(1, 2, 3, dilation=2), (1, 8, 8, 8)),
        (nn.ConvTranspose1d(3, 4, 3), (3, 8)),
        (nn.ConvTranspose2d(3, 4, 3, stride=2, bias=False), (3, 8, 8)),
        (nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), (6,)),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), (3, 8, 8)),
    ],
)
def test_every_kind_of_layer_counts_once(layer, shape):
    assert depth(layer, *shape) == 1


def test_depth_of_a_network_that_normalises_one_value_a_channel():
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
    assert depth(pooled, 3, 8, 8) == 1


@pytest.mark.parametrize(
    "product",
    [
        lambda self, x: x @ self.matrix,
        lambda self, x: x[:, None] @ self.matrix,
        lambda self, x: (self.matrix.t() @ x.t()).t(),
        lambda self, x: torch.einsum("bi,ij->bj", x, self.matrix),
        lambda self, x: torch.addmm(self.vector, x, self.matrix),
        lambda self, x: functional.linear(x, weight=self.matrix),
        lambda self, x: x @ self.vector,
        lambda self, x: x @ (self.matrix * torch.ones(6, 6).tril() / self.vector),
        lambda self, x: torch.bmm(x[:, None], self.matrix.expand(len(x), 6, 6)),
        lambda self, x: functional.conv1d(x[:, None], self.matrix[:1, None, :3]),
    ],
)
def test_products_with_parameters_are_layers_however_they_are_written(product):
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(6, 6))
            self.vector = nn.Parameter(torch.ones(6))

        def forward(self, x):
            return product(self, x)

    assert depth(Product(), 6) == 1


def test_what_has_no_weights_is_no_layer():
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)
            self.register_buffer("blur", torch.ones(3, 1, 2, 2))

        def forward(self, x):
            x = functional.conv2d(self.layer(x), self.blur, groups=3)
            return x @ x.transpose(2, 3)

    assert depth(Fixed(), 3, 5, 5) == 1


def test_the_longer_branch_counts(make):
    # A stem, two blocks of two convolutions beside a shortcut of one, a classifier.
    assert depth(make("residual"), 3, 8, 8) == 6
    branches = {"long": nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)), "short": nn.Linear(6, 6)}
    for order in itertools.permutations(branches):
        both = Function(lambda self, x, o=order: sum(getattr(self, n)(x) for n in o), **branches)
        assert depth(both, 6) == 2


# Two cells of first → second, beside a third; with the stem and the classifier.
@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (("convolution", "convolution", "skip"), 1 + 4 + 1),
        (("convolution", "skip", "convolution"), 1 + 2 + 1),
        (("convolution", "none", "skip"), 1 + 0 + 1),
        (("none", "convolution", "convolution"), 1 + 2 + 1),
        (("convolution", "convolution", "none"), 1 + 4 + 1),
        (("none", "skip", "none"), 0),
    ],
)
def test_dead_branches_do_not_count(make, operations, expected):
    assert depth(make("cells", *operations), 3, 8, 8) == expected


def test_projections_of_attention_count_and_its_products_do_not(make):
    # Patches; two blocks of two projections and two layers; a classifier.
    assert depth(make("transformer"), 3, 8, 8) == 1 + 2 * 4 + 1


def test_weights_that_are_applied_again_count_again():
    model = Function(lambda self, x: self.layer(self.layer(self.layer(x))), layer=nn.Linear(6, 6))
    assert depth(model, 6) == 3


def test_weights_that_follow_from_the_input():
    class Mixed(nn.Module):
        """Dynamic convolution: kernels are mixed by weights that the input decides."""

        def __init__(self) -> None:
            super().__init__()
            self.kernels = nn.Parameter(torch.randn(4, 3, 3, 3, 3))
            self.routing = nn.Linear(3, 4)

        def forward(self, x):
            routes = self.routing(x.mean((0, 2, 3))).softmax(0)
            return functional.conv2d(x, torch.einsum("k,koihw->oihw", routes, self.kernels))

    # Routing, mixing (a product with a parameter), and the convolution itself.
    assert depth(Mixed(), 3, 6, 6) == 3


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda self, x: self.embedding(x), 2),
        (lambda self, x: self.embedding.weight[x], 2),
        (lambda self, x: self.embedding.weight[x, :], 2),
        (lambda self, x: functional.one_hot(x, 7).float() @ self.embedding.weight, 3),
        (lambda self, x: x[:, :, None] * self.embedding.weight[0], 2),
    ],
)
def test_whole_numbered_inputs_and_tied_weights(read, expected):
    def forward(self, x):
        return functional.linear(self.layer(read(self, x)), self.embedding.weight)

    model = Function(forward, embedding=nn.Embedding(7, 4), layer=nn.Linear(4, 4))
    assert score("depth", model, torch.arange(6).reshape(SAMPLES, 2)).value == expected


def test_a_recurrent_layer_counts_its_steps_where_they_show():
    def last(self, x):
        return self.head(self.layer(x)[0][:, -1])

    # The first step's input layer, three more steps, the classifier.
    model = Function(last, layer=nn.GRU(3, 4, batch_first=True), head=nn.Linear(4, 2))
    assert depth(model, 4, 3) == 1 + 3 + 1


HIDDEN = "expected layers that show in the autograd graph, found some hidden in one node"


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs the fused LSTM of CPUs")
def test_a_recurrent_layer_in_one_kernel_is_a_status():
    model = Function(lambda self, x: self.layer(x)[0], layer=nn.LSTM(3, 4, batch_first=True))
    status = score("depth", model, torch.randn(SAMPLES, 4, 3)).status
    assert status == f"{HIDDEN} (MkldnnRnnLayerBackward)"


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant):
    def forward(self, x):
        return checkpoint(self.body, self.stem(x), use_reentrant=reentrant)

    body = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 6), nn.GELU())
    model = Function(forward, stem=nn.Linear(6, 6), body=body)
    found = score("depth", model, torch.randn(SAMPLES, 6))
    if reentrant:
        assert found.status == f"{HIDDEN} (CheckpointFunctionBackward)"
    else:
        assert found.value == 3
    # What the body keeps is computed again: only its input stays.
    assert memory(model, 6) == 24
    assert memory(nn.Sequential(model.stem, body), 6) == 4 * 24


def test_without_a_gradient_there_is_no_path_to_follow():
    model = Function(lambda self, x: self.layer(x).detach(), layer=nn.Linear(6, 4))
    status = score("depth", model, torch.randn(SAMPLES, 6)).status
    assert status.endswith("found one without a gradient")


@pytest.fixture
def timed(monkeypatch):
    """Return a function that makes a model whose passes take so many seconds by the clock."""
    now = 0.0
    monkeypatch.setattr("proxies.passes.latency.perf_counter", lambda: now)

    def make(*seconds: float, rest: float = 0.25) -> nn.Module:
        left = itertools.chain(seconds, itertools.repeat(rest))

        def forward(self, x):
            nonlocal now
            now += next(left)
            return x

        return Function(forward)

    return make


BATCH = torch.ones(4, 6), None


def test_latency_by_hand(timed):
    # Of the warm-up, the last three bring nothing.
    model = timed(0.5, 0.125, 0.125, 0.125, 0.12, *(0.2, 0.4, 0.1, 0.3))
    found = measure_latency(model, BATCH, warmup=2, repeats=4)
    assert (found.warmup, found.repeats, found.batch_size) == (5, 4, 4)
    assert found.median == pytest.approx(250)
    # At 0.95 × 3 of the sorted readings, counted from 0.
    assert found.p95 == pytest.approx(300 + 0.85 * 100)


@pytest.mark.parametrize(
    ("seconds", "warmup", "repeats"),
    [(2.0, 3, 10), (2**-5, 4, 32), (2**-12, 4, 200)],
)
def test_readings_take_about_a_second(timed, seconds, warmup, repeats):
    found = measure_latency(timed(rest=seconds), BATCH)
    assert (found.warmup, found.repeats) == (warmup, repeats)
    assert found.median == found.p95 == 1000 * seconds


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_costs_are_those_of_the_models_own_memory_layout(memory_format):
    seen = set()
    asked = {f: f is memory_format for f in (torch.contiguous_format, torch.channels_last)}

    def forward(self, x):
        x = self.layer(x)
        if len(x) == SAMPLES:
            seen.update((f, x.is_contiguous(memory_format=f)) for f in asked)
        return x

    layer = nn.Conv2d(3, 4, 3).to(memory_format=memory_format)
    x = torch.randn(SAMPLES, 3, 8, 8).contiguous(memory_format=memory_format)
    names = ["latency", "activation_memory"]
    proxies.score(Function(forward, layer=layer), (x, None), names, device="cpu")
    assert seen == set(asked.items())


def test_no_warm_up(timed):
    found = measure_latency(timed(0.5), BATCH, warmup=0, repeats=1)
    assert (found.warmup, found.median) == (0, 500)


def test_proxies_read_the_same_measurement(timed):
    model = timed(*[1.0] * 3, *[0.25] * 9, 0.75)
    scores = proxies.score(model, BATCH, ["latency", "latency_p95"], device="cpu")
    assert scores["latency"].value == 250
    assert scores["latency_p95"].value == pytest.approx(250 + 0.55 * 500)


def test_only_readings_of_the_clock_are_measured():
    costs = ("activation_memory", "depth", "latency", "latency_p95")
    assert [PROXIES[name].measured for name in costs] == [False, False, True, True]
    assert [PROXIES[name].direction for name in costs] == [1] * 4
    assert set(costs[2:]) == {name for name, proxy in PROXIES.items() if proxy.measured}
    assert not set(costs[2:]) & set(proxies.score(nn.Linear(6, 2), BATCH, device="cpu"))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_latency_is_that_of_inference(dtype):
    seen = set()
    expected = dtype or torch.float32

    def forward(self, x):
        seen.add((self.training, torch.is_grad_enabled(), x.dtype, float(x.sum())))
        return self.layer(x.mul_(2))

    model = Function(forward, layer=nn.Linear(6, 4))
    weight = model.layer.weight
    before = weight.clone()
    batch = torch.ones(4, 6), torch.zeros(4)
    found = measure_latency(model, batch, device="cpu", dtype=dtype, repeats=5)
    assert seen == {(False, False, expected, 24.0)}
    assert model.training
    assert model.layer.weight is weight
    assert torch.equal(weight, before)
    assert batch[0].sum() == 24
    assert isinstance(found, Latency)
    assert 0 < found.median <= found.p95
    assert found.device.startswith("cpu")
    assert found.threads == torch.get_num_threads()
    assert (f"torch.{found.dtype}", found.torch) == (str(expected), torch.__version__)


def test_the_type_is_the_models_own():
    assert measure_latency(nn.Linear(6, 2).double(), BATCH, repeats=1).dtype == "float64"
    assert measure_latency(nn.Flatten(), BATCH, repeats=1).dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warmup": -1}, "expected warmup to be at least 0, found -1"),
        ({"repeats": 0}, "expected repeats to be at least 1, found 0"),
        ({"dtype": torch.int8}, "expected a type such as float32, .* found 'torch.int8'"),
        ({"device": "gpu"}, "expected a device such as auto, cpu or cuda:0, found 'gpu'"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, message):
    with pytest.raises(ProxyError, match=message):
        measure_latency(nn.Linear(6, 2), BATCH, **arguments)
