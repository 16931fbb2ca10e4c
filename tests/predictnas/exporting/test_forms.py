import pytest
import torch
from torch import nn

from predictnas.errors import PredictNASError
from predictnas.exporting.forms import compare, write_onnx, write_program


def tiny() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()


def test_exporters_say_nothing(tmp_path, capfd, recwarn):
    images = torch.linspace(-1, 1, 12).reshape(3, 1, 2, 2)
    model = tiny()
    program = write_program(model, images, tmp_path / "a.pt2")
    write_onnx(model, program, images, tmp_path / "a.onnx")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_compare_accepts_rounding_and_refuses_more(tmp_path):
    images, model = torch.ones(3, 1, 2, 2), tiny()
    compare(tmp_path / "x", model, lambda x: model(x) + 9e-5, images)
    with pytest.raises(PredictNASError, match="x: expected the outputs of the trained network"):
        compare(tmp_path / "x", model, lambda x: model(x) + 2e-4, images)


def test_compare_refuses_nan_and_other_shapes(tmp_path):
    images, model = torch.ones(3, 1, 2, 2), tiny()
    with pytest.raises(PredictNASError, match="found a difference of nan"):
        compare(tmp_path / "x", model, lambda x: model(x) * torch.nan, images)
    with pytest.raises(PredictNASError, match=r"of shape \(3, 2\), found \(3, 1\)"):
        compare(tmp_path / "x", model, lambda x: model(x)[:, :1], images)
