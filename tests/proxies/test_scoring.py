import dataclasses
import math
import re

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import proxies
from proxies import ProxyError, ProxyScore
from proxies.subject import _device

MEASURED = {"latency", "latency_p95"}
# What needs labels, or a loss.
OF_THE_LOSS = {"grad_norm", "snip", "plain", "grasp", "fisher", "zico", "gradsign"}


def undefined_of(scores: proxies.Scores) -> set[str]:
    return {name for name, score in scores.items() if score.status != "ok"}


def test_all_proxies_are_scored_when_none_is_named(make, batch):
    scores = proxies.score(make("perceptron"), batch)
    assert list(scores) == [name for name in proxies.PROXIES if name not in MEASURED]


def test_stop_watch_readings_are_taken_by_name_only(make, batch):
    assert {name for name, proxy in proxies.PROXIES.items() if proxy.measured} == MEASURED
    scores = proxies.score(make("perceptron"), batch, MEASURED)
    assert scores.keys() == MEASURED
    assert all(score.status == "ok" and score.value > 0 for score in scores.values())


def test_one_name_is_as_good_as_a_list_of_one(make, batch):
    assert list(proxies.score(make("perceptron"), batch, "snip")) == ["snip"]


def test_a_score_cannot_be_changed():
    score = ProxyScore(1.0, "ok", 1, 0.5)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        score.value = 2.0


def test_unknown_proxy_is_named_with_the_choices(make, batch):
    choices = "params, macs, flops, .*, synflow, .*, jacob_cov, .*, az_trainability$"
    with pytest.raises(ProxyError, match=f"unknown proxy 'snap'; choose from: {choices}"):
        proxies.score(make("perceptron"), batch, ["snip", "snap"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet"}, "expected a torch.nn.Module to score, found str"),
        ({"batch": torch.ones(2)}, "expected a batch (x, y), found Tensor"),
        ({"batch": ([1.0], None)}, "expected tensors in the batch, found float"),
        ({"batch": (torch.ones(3, 2), torch.ones(2))}, "the same number of samples, at least one"),
        ({"batch": (torch.ones(0, 2), None)}, "the same number of samples, at least one, found 0"),
        ({"micro_batch": 0}, "expected micro_batch to be at least 1, found 0"),
        ({"seed": -1}, "expected a seed from 0 to 2**63 - 1, found -1"),
        ({"device": "gpu9"}, "expected a device such as auto, cpu or cuda:0, found 'gpu9'"),
    ],
)
def test_wrong_arguments_are_one_line(change, message, make, batch):
    arguments = {"model": make("perceptron"), "batch": batch} | change
    with pytest.raises(ProxyError, match=re.escape(message)) as caught:
        proxies.score(**arguments)
    assert "\n" not in str(caught.value)


def test_one_failure_leaves_the_others(make, batch):
    x, _ = batch
    scores = proxies.score(make("residual"), (x, torch.full((6,), 5)))
    for name in OF_THE_LOSS:
        assert scores[name].status == (
            "expected labels from 0 to 4, the model's last class, found 5 to 5"
        )
        assert math.isnan(scores[name].value)
    assert undefined_of(scores) == OF_THE_LOSS


def test_labels_are_needed_for_the_loss_only(make, batch):
    scores = proxies.score(make("residual"), (batch[0], None))
    assert undefined_of(scores) == {*OF_THE_LOSS, "epe_nas"}
    for name in OF_THE_LOSS:
        assert scores[name].status == "expected labels for the loss, found none in the batch"


def test_labels_of_one_class_are_fine(make, batch):
    scores = proxies.score(make("residual"), (batch[0], torch.zeros(6, dtype=torch.long)))
    assert all(score.status == "ok" for score in scores.values())


@pytest.mark.parametrize(
    ("labels", "status"),
    [
        (torch.zeros(6, 2).long(), r"found output (6, 5) and labels (6, 2)"),
        (torch.zeros(6), "expected labels that are class numbers, found torch.float32"),
        (torch.full((6,), -1), "found -1 to -1"),
    ],
)
def test_labels_that_do_not_fit_are_a_status(labels, status, make, batch):
    score = proxies.score(make("cells"), (batch[0], labels), ["snip"])["snip"]
    assert status in score.status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError("17 GB"), "out of memory: 17 GB"),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), "out of memory: Default"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory: CUDA out of memory."),
        (KeyError(), "KeyError: no message"),
    ],
)
def test_exceptions_of_the_model_are_a_status(error, status, batch):
    class Raising(nn.Module):
        def forward(self, x):
            raise error

    for name, score in proxies.score(Raising(), batch).items():
        # There are no layers of which l2_norm could be.
        if name == "l2_norm":
            assert score.status == "expected convolutions or linear layers, found none"
        else:
            assert name == "params" or score.status.startswith(status)


def test_values_that_are_not_finite_are_a_status(batch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    nn.init.constant_(model[1].weight, math.nan)
    scores = proxies.score(model, batch, ["snip", "gradsign", "l2_norm"])
    for name in ("snip", "gradsign"):
        expected = "expected a finite output from the model, found nan or infinity"
        assert scores[name].status == expected
    assert scores["l2_norm"].status == "expected a finite value, found nan"
    assert all(math.isnan(score.value) for score in scores.values())


def test_provenance_says_what_the_values_belong_to(make, batch):
    scores = proxies.score(make("cells"), batch, ["params"], seed=3, device="cpu", micro_batch=2)
    assert scores.provenance == {
        "seed": 3,
        "batch_size": 6,
        "input_shape": [[3, 8, 8]],
        "batch": scores.provenance["batch"],
        "micro_batch": 2,
        "splits": 2,
        "mode": "training",
        "loss": "cross_entropy",
        "device": "cpu",
        "dtype": "float32",
        "torch": torch.__version__,
    }
    assert re.fullmatch("[0-9a-f]{16}", scores.provenance["batch"])


def test_provenance_tells_batches_apart(make, batch):
    def fingerprint(x, y):
        return proxies.score(make("cells"), (x, y), ["params"]).provenance["batch"]

    x, y = batch
    assert fingerprint(x, y) == fingerprint(x.clone(), y.clone())
    others = [(x + 1, y), (x, y + 1), (x[:5], y[:5]), (x, None), (x.reshape(6, 3, 4, 16), y)]
    assert len({fingerprint(*other) for other in [batch, *others]}) == 6


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_autocast_of_the_caller_changes_no_value(micro_batch, make, batch):
    model = make("residual")
    values = proxies.score(model, batch, micro_batch=micro_batch)
    with torch.autocast("cpu", torch.bfloat16):
        under = proxies.score(model, batch, micro_batch=micro_batch)
    for name, score in values.items():
        assert under[name].status == score.status
        assert under[name].value == pytest.approx(score.value, rel=1e-6, nan_ok=True)


def test_the_default_type_does_not_matter(make, batch):
    model = make("residual")
    value = proxies.score(model, batch, ["swap"])["swap"].value
    torch.set_default_dtype(torch.float64)
    try:
        assert proxies.score(model, batch, ["swap"])["swap"].value == value
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_default_device_does_not_matter(micro_batch, make, batch):
    model = make("group_normalised")
    names = [name for name in proxies.PROXIES if not name.startswith("latency")]
    values = proxies.score(model, batch, names, device="cpu", micro_batch=micro_batch)
    torch.set_default_device("meta")
    try:
        under = proxies.score(model, batch, names, device="cpu", micro_batch=micro_batch)
    finally:
        torch.set_default_device(None)
    for name, score in values.items():
        assert under[name].status == score.status
        assert under[name].value == pytest.approx(score.value, nan_ok=True)


@pytest.mark.parametrize("other", ["fisher", "vkdnw"])
def test_a_value_does_not_depend_on_which_others_are_asked_for(other, batch):
    """The model has a state that each forward advances, and writes into what layers return."""
    spectral = nn.utils.spectral_norm
    model = nn.Sequential(
        spectral(nn.Conv2d(3, 6, 3)), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(216, 5)
    )
    alone = {name: proxies.score(model, batch, [name])[name].value for name in ("snip", other)}
    together = proxies.score(model, batch, ["snip", other, "gradsign"])
    assert {name: together[name].value for name in alone} == pytest.approx(alone, rel=1e-6)


def test_second_derivatives_that_fail_leave_the_others(batch):
    """A checkpointed block runs again in the backward pass, outside of what watches the first."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.block = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
            self.head = nn.Linear(4, 5)
            self.saves = True

        def forward(self, x):
            x = self.first(x)
            x = checkpoint(self.block, x, use_reentrant=False) if self.saves else self.block(x)
            return self.head(x.mean((2, 3)))

    model = Checkpointed()
    names = ("snip", "naswot", "fisher", "jacob_cov")
    found = proxies.score(model, batch, [*names, "grasp"])
    model.saves = False
    plain = proxies.score(model, batch, names)
    assert {name: found[name].value for name in names} == pytest.approx(
        {name: plain[name].value for name in names}, rel=1e-5
    )


def test_own_loss(make, batch):
    def doubled(output, labels):
        return 2 * nn.functional.cross_entropy(output, labels)

    once = proxies.score(make("cells"), batch, ["snip"])
    twice = proxies.score(make("cells"), batch, ["snip"], loss=doubled)
    assert twice["snip"].value == pytest.approx(2 * once["snip"].value, rel=1e-5)
    assert twice.provenance["loss"].endswith("doubled")


def test_a_loss_that_is_no_number_is_a_status(make, batch):
    def unreduced(output, labels):
        return nn.functional.cross_entropy(output, labels, reduction="none")

    score = proxies.score(make("cells"), batch, ["snip"], loss=unreduced)["snip"]
    assert score.status == "expected a loss that is one number, found shape (6,)"


def test_several_inputs(batch):
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(192, 8), nn.Linear(4, 8)
            self.head = nn.Linear(8, 5)

        def forward(self, image, numbers):
            hidden = self.one(image.flatten(1)) + self.other(numbers)
            return self.head(torch.relu(hidden))

    x, y = batch
    torch.manual_seed(0)
    numbers = torch.randn(6, 4)
    scores = proxies.score(Sum(), ((x, numbers), y))
    # Layers side by side are no chain of blocks.
    assert undefined_of(scores) == {"meco", "az_trainability"}
    assert scores["macs"].value == 192 * 8 + 4 * 8 + 8 * 5
    assert proxies.Probe(Sum(), ((x, numbers), y)).input_jacobian.shape == (6, 196)


def test_whole_numbered_inputs_say_what_is_undefined():
    model = nn.Sequential(
        nn.Embedding(9, 16), nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )
    torch.manual_seed(0)
    scores = proxies.score(model, (torch.randint(0, 9, (4, 4)), torch.tensor([0, 1, 2, 0])))
    assert undefined_of(scores) == {
        *("jacob_cov", "epe_nas", "zen", "meco"),
        *("az_expressivity", "az_progressivity", "az_trainability"),
    }
    assert scores["zen"].status == (
        "expected floating-point inputs to perturb, found whole numbers"
    )


def test_inputs_take_the_type_of_the_model(make, batch):
    x, y = batch
    single = proxies.score(make("cells"), (x, y), ["snip"])
    double = proxies.score(make("cells").double(), (x, y), ["snip"])
    assert double["snip"].value == pytest.approx(single["snip"].value, rel=1e-4)
    assert double.provenance["dtype"] == "float64"


def test_auto_is_the_accelerator_of_the_model_or_any(make, monkeypatch):
    assert _device(make("cells"), "cpu") == torch.device("cpu")
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda value=available: value)
        assert _device(make("cells"), "auto") == torch.device(expected)
        assert _device(nn.Flatten(), "auto") == torch.device(expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_values_and_the_model_stays(network, batch):
    here = proxies.score(network, batch, device="cpu")
    state = torch.cuda.get_rng_state()
    for micro_batch in (None, 2):
        there = proxies.score(network, batch, device="cuda", micro_batch=micro_batch)
        assert there.provenance["device"] == "cuda"
        assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
        for name, score in here.items():
            assert there[name].status == score.status
            assert there[name].value == pytest.approx(score.value, rel=2e-2)
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_pixelwise_outputs(batch):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)
    )
    x, _ = batch
    labels = torch.arange(6 * 64).reshape(6, 8, 8) % 4
    scores = proxies.score(model, (x, labels))
    assert undefined_of(scores) == {
        # Classes of pixels; one layer before the last.
        *("epe_nas", "vkdnw"),
        *("az_expressivity", "az_progressivity", "az_trainability"),
    }


class Limited(nn.Module):
    """A model for which memory runs out above some number of samples."""

    def __init__(self, body: nn.Module, most: int, error: type[RuntimeError]) -> None:
        super().__init__()
        self.body, self.most, self.error = body, most, error

    def forward(self, x):
        if len(x) > self.most:
            raise self.error("can't allocate memory: you tried to allocate 17 GB")
        return self.body(x)


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
@pytest.mark.parametrize("kind", ["group_normalised", "perceptron", "transformer"])
def test_running_out_of_memory_changes_no_value(kind, error, make, batch):
    expected = proxies.score(make(kind), batch, device="cpu")
    for most in (5, 2):
        scores = proxies.score(Limited(make(kind), most, error), batch, device="cpu")
        assert scores.provenance["micro_batch"] <= most
        for name, score in scores.items():
            if name == "activation_memory":
                # Of the whole batch, which does not fit.
                assert score.status.startswith("out of memory: can't allocate memory")
                continue
            assert score.status == expected[name].status, name
            assert score.value == pytest.approx(expected[name].value, rel=1e-4, nan_ok=True), name
    assert expected.provenance["micro_batch"] is None


@pytest.mark.parametrize("name", ["snip", "grasp", "naswot", "gradsign", "vkdnw", "zen"])
def test_batch_statistics_that_do_not_fit_are_a_status(name, make, batch):
    # A part's statistics would be those of another batch.
    model = Limited(make("residual"), 2, RuntimeError)
    score = proxies.score(model, batch, [name], device="cpu")[name]
    assert score.status == "out of memory: can't allocate memory: you tried to allocate 17 GB"
    assert math.isnan(score.value)


def test_half_precision_is_for_proxies_that_bear_it(make, batch):
    scores = proxies.score(make("residual"), batch, device="cpu", dtype="bfloat16")
    assert scores.provenance["dtype"] == "bfloat16"
    for name, score in scores.items():
        if proxies.PROXIES[name].half:
            assert score.status == "ok", name
        else:
            assert score.status == (
                "expected float32 or float64 numbers for this proxy, found bfloat16; give dtype"
            )
    assert all(proxies.PROXIES[name].half for name in ("params", "macs", "synflow", "naswot"))


def test_half_precision_keeps_the_order_of_networks(batch):
    def network(width: int) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, width, 3),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * width, 5),
        )

    # Bytes are of other numbers.
    names = [name for name, p in proxies.PROXIES.items() if p.half and not p.measured]
    names.remove("activation_memory")
    for name in names:
        single, half = (
            [
                proxies.score(network(w), batch, [name], device="cpu", dtype=kind)[name].value
                for w in (4, 8, 16)
            ]
            for kind in ("float32", "bfloat16")
        )
        assert half == pytest.approx(single, rel=0.05)
        assert half == sorted(half)


def test_models_that_were_made_in_half_precision_need_a_type(make, batch):
    model = make("cells").bfloat16()
    scores = proxies.score(model, batch, ["snip", "params"], device="cpu")
    assert scores["snip"].status.endswith("found bfloat16; give dtype")
    assert scores["params"].status == "ok"
    given = proxies.score(model, batch, ["snip"], device="cpu", dtype="float32")["snip"]
    assert given.status == "ok"


def test_wrong_types_are_one_line(make, batch):
    for dtype in ("float99", "int64", torch.int32):
        with pytest.raises(ProxyError, match="expected a type such as float32, bfloat16 or"):
            proxies.score(make("cells"), batch, ["params"], dtype=dtype)


class Viewing(nn.Module):
    """Views an image as a vector, which it is not with channels last."""

    def __init__(self, flatten) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.second, self.head = nn.Conv2d(4, 6, 3), nn.Linear(96, 5)
        self.flatten = flatten

    def forward(self, x):
        x = self.second(torch.relu(self.norm(self.first(x))))
        return self.head(torch.relu(self.flatten(x)))


def test_models_that_view_images_as_vectors_are_scored_in_their_own_layout(batch):
    viewing = Viewing(lambda x: x.view(len(x), -1))
    reshaping = Viewing(lambda x: x.reshape(len(x), -1))
    probes = [proxies.Probe(model, batch, device="cpu") for model in (viewing, reshaping)]
    assert [probe.subject.channels_last for probe in probes] == [False, True]
    found, expected = (
        proxies.score(model, batch, device="cpu", dtype="float64") for model in (viewing, reshaping)
    )
    for name, score in expected.items():
        assert found[name].status == score.status, name
        assert found[name].value == pytest.approx(score.value, rel=1e-8, nan_ok=True), name


@pytest.mark.parametrize(
    ("inner", "kernel", "stride", "groups", "last"),
    [
        (6, 1, 2, 1, False),
        (12, 1, (1, 2), 2, False),
        (8, 1, 2, 1, True),
        (6, 1, 1, 1, True),
        (6, 3, 2, 1, True),
    ],
)
def test_convolutions_that_overflow_with_channels_last_keep_their_layout(
    inner, kernel, stride, groups, last
):
    layer = nn.Conv2d(inner, 8, kernel, stride, groups=groups)
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    batch = torch.randn(6, inner, 8, 8), torch.arange(6) % 5
    model(batch[0])
    probe = proxies.Probe(model, batch, device="cpu")
    assert probe.subject.channels_last is last
    # Enough to crash where memory is overwritten.
    for _ in range(100):
        gradients = proxies.Probe(model, batch, device="cpu").loss_gradients
    loss = nn.functional.cross_entropy(model.double()(batch[0].double()), batch[1])
    (expected,) = torch.autograd.grad(loss, [layer.weight])
    torch.testing.assert_close(gradients["0.weight"].double(), expected, rtol=1e-4, atol=1e-5)
