import dataclasses
import math
import re

import pytest
import torch
from torch import nn

import proxies
from proxies import ProxyError, ProxyScore
from proxies.subject import _device


def test_all_proxies_are_scored_when_none_is_named(make, batch):
    assert list(proxies.score(make("perceptron"), batch)) == list(proxies.PROXIES)


def test_one_name_is_as_good_as_a_list_of_one(make, batch):
    assert list(proxies.score(make("perceptron"), batch, "snip")) == ["snip"]


def test_a_score_cannot_be_changed():
    score = ProxyScore(1.0, "ok", 1, 0.5)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        score.value = 2.0


def test_unknown_proxy_is_named_with_the_choices(make, batch):
    choices = "params, macs, flops, jacob_cov, synflow, snip, naswot, zen"
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
    scores = proxies.score(make("cells"), (x, torch.full((6,), 5)))
    assert scores["snip"].status == (
        "expected labels from 0 to 4, the model's last class, found 5 to 5"
    )
    assert math.isnan(scores["snip"].value)
    assert {name for name, score in scores.items() if score.status != "ok"} == {"snip"}


def test_labels_are_needed_for_the_loss_only(make, batch):
    scores = proxies.score(make("cells"), (batch[0], None))
    assert {name for name, score in scores.items() if score.status != "ok"} == {"snip"}
    assert scores["snip"].status == "expected labels for the loss, found none in the batch"


def test_labels_of_one_class_are_fine(make, batch):
    scores = proxies.score(make("cells"), (batch[0], torch.zeros(6, dtype=torch.long)))
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
        assert name == "params" or score.status.startswith(status)


def test_values_that_are_not_finite_are_a_status(batch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    nn.init.constant_(model[1].weight, math.nan)
    score = proxies.score(model, batch, ["snip"])["snip"]
    assert score.status == "expected a finite value, found nan"
    assert math.isnan(score.value)


def test_provenance_says_what_the_values_belong_to(make, batch):
    scores = proxies.score(make("cells"), batch, ["params"], seed=3, device="cpu", micro_batch=2)
    assert scores.provenance == {
        "seed": 3,
        "batch_size": 6,
        "input_shape": [[3, 8, 8]],
        "batch": scores.provenance["batch"],
        "micro_batch": 2,
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
    assert {name: score.status for name, score in scores.items() if score.status != "ok"} == {}
    assert scores["macs"].value == 192 * 8 + 4 * 8 + 8 * 5
    assert proxies.Probe(Sum(), ((x, numbers), y)).input_jacobian.shape == (6, 196)


def test_whole_numbered_inputs_say_what_is_undefined():
    model = nn.Sequential(
        nn.Embedding(9, 16), nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )
    torch.manual_seed(0)
    scores = proxies.score(model, (torch.randint(0, 9, (4, 4)), torch.tensor([0, 1, 2, 0])))
    assert {name for name, score in scores.items() if score.status != "ok"} == {"jacob_cov", "zen"}
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
    assert {name: score.status for name, score in scores.items() if score.status != "ok"} == {}
