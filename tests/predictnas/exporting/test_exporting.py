import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from predictnas.errors import CandidateError, InputError
from predictnas.exporting import architecture as architecture_module
from predictnas.exporting import export_architecture, export_winner
from predictnas.training import Recipe, default_recipe

PROJECT = Path(__file__).parents[3]


def raw(exported, count: int) -> torch.Tensor:
    """Images as they are in the file, channels first."""
    return torch.from_numpy(exported.test_images[:count].astype(np.float32)).movedim(3, 1)


@pytest.fixture(scope="module")
def program(exported):
    return torch.export.load(exported.export.files["program"]).module()


@pytest.fixture(scope="module")
def facts(exported):
    return json.loads(exported.export.files["facts"].read_text("utf-8"))


def test_writes_exactly_the_five_files(exported):
    files = exported.export.files
    assert list(files) == ["program", "onnx", "state", "source", "facts"]
    folder = files["facts"].parent
    assert sorted(folder.iterdir()) == sorted(files.values())


def test_chooses_the_best_and_reproduces_its_label(exported):
    values = [trial.value for trial in exported.study.trials]
    best = exported.study.trials[int(np.argmax(values))]
    assert exported.export.arch == best.user_attrs["arch"]
    assert exported.export.label["trial"] == best.number
    assert exported.export.valid_accuracy == best.value
    assert exported.export.test_accuracy == best.user_attrs["test_accuracy"]
    assert exported.export.reproduced is True


def test_the_exported_program_has_the_accuracy_that_is_claimed(exported, program, facts):
    with torch.no_grad():
        predicted = program(raw(exported, 30)).argmax(1).numpy()
    accuracy = 100 * np.mean(predicted == exported.test_labels)
    assert accuracy == pytest.approx(exported.export.test_accuracy)
    assert facts["test_accuracy"] == exported.export.test_accuracy


@pytest.mark.parametrize("size", [1, 7])
def test_onnx_equals_the_program(exported, program, size):
    images = raw(exported, size)
    session = onnxruntime.InferenceSession(str(exported.export.files["onnx"]))
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        expected = program(images).numpy()
    assert logits.shape == (size, 3)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


def test_the_state_is_that_of_the_space_behind_the_normalisation(exported, program):
    state = torch.load(exported.export.files["state"], weights_only=True)
    network = exported.space.build(
        exported.space.parse(exported.export.arch), (3, 13, 11), 3, channels=4, cells=1
    )
    inner = {f"network.{name}" for name in network.state_dict()}
    assert set(state) == inner | {"normalize.mean", "normalize.std"}
    network.load_state_dict({name.removeprefix("network."): state[name] for name in inner})
    with torch.no_grad():
        expected = network.eval()(exported.task.test.images[:7])
        np.testing.assert_allclose(program(raw(exported, 7)), expected, rtol=0, atol=1e-4)


def test_the_source_runs_without_this_project(exported, program, tmp_path):
    images = raw(exported, 7)
    np.save(tmp_path / "images.npy", exported.test_images[:7])
    torch.save(images, tmp_path / "images.pt")
    source = exported.export.files["source"]
    code = f"""
import runpy, sys, torch
names = runpy.run_path({str(source)!r})
with torch.no_grad():
    torch.save(names["load"]()(torch.load("images.pt", weights_only=True)), "logits.pt")
for arguments in ([], ["images.npy"]):
    sys.argv[1:] = arguments
    runpy.run_path({str(source)!r}, run_name="__main__")
    print("--")
ours = {{"predictnas", "encoders", "proxies"}} & set(sys.modules)
assert not ours, ours
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    noise, classes, _ = done.stdout.split("--\n")
    assert len(noise.split()) == 4
    with torch.no_grad():
        expected = program(images)
    assert [int(line) for line in classes.split()] == expected.argmax(1).tolist()
    logits = torch.load(tmp_path / "logits.pt", weights_only=True)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


def test_the_facts_say_what_was_exported(exported, facts):
    assert facts["arch"] == exported.export.arch
    assert (facts["space"], facts["task"], facts["seed"]) == ("nasbench201", "tiny", 3)
    assert facts["fingerprint"] == exported.study.user_attrs["fingerprint"]
    assert Recipe.from_dict(facts["recipe"]) == exported.recipe
    assert facts["input"]["shape"] == ["batch", 3, 13, 11]
    assert facts["input"]["mean"] == list(exported.task.mean)
    assert facts["output"]["shape"] == ["batch", 3]
    network = exported.space.build(
        exported.space.parse(exported.export.arch), (3, 13, 11), 3, channels=4, cells=1
    )
    assert facts["params"] == sum(p.numel() for p in network.parameters())
    assert facts["macs"] > 0
    assert facts["label"]["trial"] == exported.export.label["trial"]
    assert set(facts["files"].values()) == {path.name for path in exported.export.files.values()}


def test_no_file_names_a_folder_of_this_computer(exported):
    for path in exported.export.files.values():
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert str(PROJECT).encode() not in content


def test_says_what_it_does(exported):
    assert exported.steps == ["training", "writing and comparing the forms"]


def test_refuses_another_recipe(exported, tmp_path):
    other = default_recipe(exported.space, exported.task, epochs=3)
    with pytest.raises(InputError, match="labels of another space, task or recipe"):
        export_winner(exported.study, exported.space, exported.task, other, tmp_path)


def test_refuses_a_trial_without_a_label(exported, tmp_path):
    with pytest.raises(InputError, match="has no label in trial 9; choose a trial with one"):
        export_winner(
            exported.study, exported.space, exported.task, exported.recipe, tmp_path, trial=9
        )


def test_refuses_a_directory_that_is_a_file_before_training(exported, tmp_path):
    (tmp_path / "file").write_text("")
    epochs = []
    with pytest.raises(InputError, match="file: cannot be written .*; name another directory"):
        export_winner(
            exported.study,
            exported.space,
            exported.task,
            exported.recipe,
            tmp_path / "file",
            on_epoch=epochs.append,
        )
    assert epochs == []


def test_a_failed_training_leaves_nothing(exported, tmp_path):
    recipe = default_recipe(
        exported.space,
        exported.task,
        epochs=2,
        batch_size=16,
        learning_rate=1e30,
        scale={"channels": 4, "cells": 1},
    )
    arch = exported.space.parse(exported.export.arch)
    with pytest.raises(CandidateError, match="diverged"):
        export_architecture(
            exported.space, arch, exported.task, recipe, tmp_path, seed=0, device="cpu"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(exported, tmp_path, monkeypatch):
    def lose(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(architecture_module, "write_program", lose)
    arch = exported.space.parse(exported.export.arch)
    with pytest.raises(InputError, match="cannot be written .No space left on device."):
        export_architecture(
            exported.space,
            arch,
            exported.task,
            exported.recipe,
            tmp_path / "out",
            seed=0,
            device="cpu",
        )
    assert list((tmp_path / "out").iterdir()) == []
