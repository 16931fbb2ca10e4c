import pytest
import torch
from torch import nn

from proxies import Probe, UndefinedProxyError
from proxies.isolation import gaussian
from proxies.passes.blocks import blocks_of


class Mix(nn.Module):
    """A block that multiplies channels by a matrix, at every position or patch."""

    def __init__(self, matrix: torch.Tensor, side: int = 1) -> None:
        super().__init__()
        outer, inner = len(matrix), matrix.shape[1] // side**2
        self.layer = nn.Conv2d(inner, outer, side, side, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(matrix.view(outer, inner, side, side))

    def forward(self, x):
        return self.layer(x)


class Stages(nn.Module):
    """As torchvision's: a stem, stages of blocks held as attributes, a head."""

    def __init__(self, make_block) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.stages = nn.ModuleList(
            [nn.Sequential(make_block(), make_block()), nn.Sequential(make_block())]
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4, 5))


def features_of(model: nn.Module, shape: tuple[int, ...], **options):
    batch = (torch.zeros(shape), None)
    return Probe(model, batch, device="cpu", dtype="float64", **options).block_features


def test_blocks_of_residual_networks_and_transformers(make):
    for kind in ("residual", "transformer"):
        model = make(kind)
        assert blocks_of(model) == list(model.blocks)


def test_blocks_of_cells_are_the_elements_of_their_list(make):
    model = make("cells")
    assert blocks_of(model) == list(model.operations)


def test_blocks_of_stages_are_theirs():
    model = Stages(lambda: Mix(torch.eye(4)))
    first, second = model.stages
    assert blocks_of(model) == [*first, *second]


def test_groups_of_layers_are_blocks_and_layers_are_not(make):
    def group() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    grouped = nn.Sequential(group(), group(), nn.Flatten())
    assert blocks_of(grouped) == list(grouped)[:2]
    assert blocks_of(make("perceptron")) == blocks_of(make("group_normalised")) == []


def test_what_is_inside_of_a_block_is_part_of_it():
    block = nn.Sequential(Mix(torch.eye(3)), Mix(torch.eye(3)))
    model = nn.Sequential(nn.ModuleDict({"inner": block}), nn.Flatten())
    assert blocks_of(model) == [model[0]]


def test_spectra_are_those_of_covariances():
    torch.manual_seed(0)
    model = nn.Sequential(Mix(torch.randn(4, 3)), Mix(torch.randn(5, 4)))
    noise = gaussian(torch.Size((7, 3, 5, 6)), torch.Generator().manual_seed(9)).double()
    maps = [noise, model[0].double()(noise), model[1].double()(model[0](noise))]
    found = features_of(model.float(), (7, 3, 5, 6), seed=9).spectra
    for spectrum, features in zip(found, maps, strict=True):
        rows = features.detach().movedim(1, 0).flatten(1)
        expected = torch.linalg.eigvalsh(torch.cov(rows, correction=0))
        torch.testing.assert_close(spectrum, expected, rtol=1e-9, atol=1e-9)


def test_norms_of_one_channel_are_exact():
    # Signs squared are one: of one channel, the mean product is the Jacobian itself.
    model = nn.Sequential(
        Mix(torch.tensor([[0.5]])), Mix(torch.tensor([[-3.0]])), Mix(torch.tensor([[1.0]]))
    )
    found = features_of(model, (2, 1, 3, 3))
    assert found.norms == pytest.approx([0.5, 3.0, 1.0])
    assert found.identities == [False, False, True]
    assert found.mismatch == ""


def test_norms_approach_the_spectral_norm():
    torch.manual_seed(0)
    matrices = [torch.randn(4, 3), torch.randn(2, 4)]
    model = nn.Sequential(*map(Mix, matrices))
    found = features_of(model, (16, 3, 24, 24))
    expected = [float(torch.linalg.matrix_norm(matrix, 2)) for matrix in matrices]
    assert found.norms == pytest.approx(expected, rel=0.05)


def test_blocks_that_divide_positions_see_neighbours_as_channels():
    # v at the output goes to the four inputs of its patch, by their weights: (4 × 1), norm √30.
    model = nn.Sequential(
        Mix(torch.tensor([[2.0]])), Mix(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), side=2)
    )
    for side in (6, 8):
        assert features_of(model, (3, 1, side, side)).norms == pytest.approx([2.0, 30**0.5])


def test_sizes_that_are_no_multiples_are_padded():
    class Halving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 1, stride=2, bias=False)

        def forward(self, x):
            return self.layer(x)

    torch.manual_seed(0)
    model = nn.Sequential(Mix(torch.tensor([[2.0]])), Halving())
    weight = abs(model[1].layer.weight.item())
    assert features_of(model, (3, 1, 5, 7)).norms == pytest.approx([2.0, weight])


class Enlarging(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Upsample(scale_factor=2)

    def forward(self, x):
        return self.layer(x)


def test_blocks_that_enlarge_have_spectra_but_no_norms():
    found = features_of(nn.Sequential(Mix(torch.eye(2)), Enlarging()), (2, 2, 3, 3))
    assert found.mismatch == (
        "expected blocks that keep or divide positions, "
        "found one that turns shape (2, 3, 3) into (2, 6, 6)"
    )
    assert [len(spectrum) for spectrum in found.spectra] == [2, 2, 2]
    torch.testing.assert_close(found.spectra[1], found.spectra[2])


def test_blocks_beside_each_other_are_no_chain(make, batch):
    found = Probe(make("cells"), batch, device="cpu").block_features
    assert found.mismatch.endswith("found one that does not depend on the block before it")


def test_without_blocks_layers_are_taken_but_the_last(make, batch):
    probe = Probe(make("group_normalised"), batch, device="cpu")
    assert [len(spectrum) for spectrum in probe.block_features.spectra] == [8, 8]
    with pytest.raises(UndefinedProxyError, match="expected at least two blocks or three layers"):
        features_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2)), (2, 4))


@pytest.mark.parametrize("kind", ["group_normalised", "perceptron", "transformer"])
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_splitting_the_batch_changes_nothing(kind, micro_batch, make, batch):
    whole, split = (
        Probe(make(kind), batch, device="cpu", dtype="float64", micro_batch=size).block_features
        for size in (None, micro_batch)
    )
    torch.testing.assert_close(split.spectra, whole.spectra)
    assert split.norms == pytest.approx(whole.norms)


def test_a_block_in_two_containers_is_one():
    block = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    model = nn.Module()
    model.first, model.second = nn.ModuleList([block]), nn.ModuleList([block])
    assert blocks_of(model) == [block]


def test_blocks_that_run_for_some_samples_cannot_be_added_up():
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in "123")

        def forward(self, x):
            chosen = 3 if x[:, 0].max() > 1 else 2
            for block in self.blocks[:chosen]:
                x = block(x)
            return x

    batch = torch.zeros(64, 4), None
    whole = Probe(Choosing(), batch, device="cpu").block_features
    assert len(whole.spectra) == 4
    with pytest.raises(UndefinedProxyError, match="expected the same blocks to run for every part"):
        Probe(Choosing(), batch, device="cpu", micro_batch=1).block_features  # noqa: B018


def test_writing_into_a_feature_changes_no_other(batch):
    def model(inplace: bool) -> nn.Module:
        torch.manual_seed(0)
        groups = [
            nn.Sequential(nn.ReLU(inplace=inplace), nn.Conv2d(3, 3, 3, padding=1)) for _ in range(3)
        ]
        return nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.0)), *groups)

    found, expected = (
        Probe(model(inplace), batch, device="cpu").block_features for inplace in (True, False)
    )
    torch.testing.assert_close(found.spectra, expected.spectra)
    assert found.norms == pytest.approx(expected.norms)
