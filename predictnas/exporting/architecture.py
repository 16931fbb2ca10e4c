"""Training an architecture and writing it out in forms that run without this project."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from predictnas import __version__
from predictnas.errors import InputError
from predictnas.exporting.forms import write_onnx, write_program, write_source
from predictnas.exporting.source import standalone_source
from predictnas.exporting.standalone import normalized
from predictnas.scoring import ProxyScorer
from predictnas.spaces import Arch, Space
from predictnas.training import (
    Epoch,
    Recipe,
    Task,
    Training,
    resolve_device,
    study_fingerprint,
    train_architecture,
)

__all__ = ["Export", "export_architecture"]

_COMPARED = 7
FILES = {
    "program": "winner.pt2",
    "onnx": "winner.onnx",
    "state": "winner.state.pt",
    "source": "winner.py",
    "facts": "winner.json",
}


@dataclass(frozen=True)
class Export:
    """A network that was trained and written out.

    Attributes
    ----------
    arch
        Native text.
    files
        By form (``program``, ``onnx``, ``state``, ``source``, ``facts``) where it was written;
        no ``source`` where the space has none.
    valid_accuracy, test_accuracy
        In percent, measured on the network that was written.
    label
        Number, validation and test accuracy of the trial it was retrained after; empty for an
        architecture that did not come from a study. On the device and with the versions that
        labelled it, the validation accuracy is the same; others may round differently.
    """

    arch: str
    files: Mapping[str, Path]
    valid_accuracy: float
    test_accuracy: float
    label: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reproduced(self) -> bool | None:
        """Whether the label's validation accuracy came out again; None without a label."""
        if not self.label:
            return None
        return bool(self.valid_accuracy == self.label["valid_accuracy"])


def export_architecture(
    space: Space,
    arch: Arch,
    task: Task,
    recipe: Recipe,
    directory: Path | str,
    *,
    seed: int,
    device: str = "auto",
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[str], None] | None = None,
    label: Mapping[str, Any] | None = None,
) -> Export:
    """Train an architecture and write it in all forms.

    All forms take images ``(n, channels, height, width)``, float32 in the task's original unit
    and not standardised, in batches of any size, and give logits ``(n, classes)``:
    ``winner.pt2`` (torch.export), ``winner.onnx``, ``winner.state.pt`` (a state dictionary) with
    ``winner.py`` (Python source that needs torch alone, and as a script classifies an ``.npy``
    file), where the space has source. ``winner.json`` says what they are. Each form is read back
    and compared with the trained network; nothing is put in place before all of them agree.

    Parameters
    ----------
    space, arch, task, recipe
        What to train, on what and how.
    directory
        Where to write; it is made where it does not exist, and files of an earlier export are
        replaced.
    seed
        Seed of the training.
    device
        Where to train: ``"auto"``, ``"cpu"``, ``"cuda"``, …
    on_epoch
        Called after every epoch.
    on_step
        Called with what is done next, for progress displays.
    label
        What is known of the architecture's label, for the record.

    Raises
    ------
    InputError
        If the directory cannot be written.
    CandidateError
        If the training fails.
    PredictNASError
        If a form does not give the trained network's outputs.
    """
    say = on_step or (lambda _: None)
    directory = Path(directory)
    where = resolve_device(device)
    with _staging(directory) as staging:
        say("training")
        network, training = train_architecture(
            space, arch, task, recipe, seed=seed, device=where, on_epoch=on_epoch
        )
        network.to("cpu").eval()
        facts = _facts(space, arch, task, recipe, training, seed, where, label or {})
        say("writing and comparing the forms")
        with _write_errors(directory):
            written = _write_forms(space, arch, task, recipe, network, staging, say)
            facts["files"] = written
            text = json.dumps(facts, indent=2, ensure_ascii=False)
            (staging / FILES["facts"]).write_text(text + "\n", encoding="utf-8")
            for name in set(FILES.values()) - set(written.values()):  # of an earlier export
                (directory / name).unlink(missing_ok=True)
            files = {form: directory / name for form, name in written.items()}
            for path in files.values():
                (staging / path.name).replace(path)
    return Export(
        arch=space.format(arch),
        files=files,
        valid_accuracy=training.valid_accuracy,
        test_accuracy=training.test_accuracy,
        label=dict(label or {}),
    )


def _write_forms(
    space: Space,
    arch: Arch,
    task: Task,
    recipe: Recipe,
    network: torch.nn.Module,
    staging: Path,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Write a network in all forms that it has; return the names of files by form."""
    model = normalized(network, task.mean, task.std).eval()
    # Images as they were before the task standardised them.
    mean, std = (torch.tensor(values)[:, None, None] for values in (task.mean, task.std))
    images = task.train.images[:_COMPARED].cpu() * std + mean
    program = write_program(model, images, staging / FILES["program"])
    write_onnx(model, program, images, staging / FILES["onnx"])
    torch.save(model.state_dict(), staging / FILES["state"])
    try:
        network_source = space.network_source(
            arch, task.input_shape, task.num_classes, **recipe.scale
        )
    except InputError as error:
        say(f"without {FILES['source']}: {error}")
        return {form: name for form, name in FILES.items() if form != "source"}
    source = standalone_source(
        network_source,
        title=f"{space.name} network {space.format(arch)} trained on {task.name}.",
        mean=task.mean,
        std=task.std,
        input_shape=task.input_shape,
        state_file=FILES["state"],
    )
    write_source(model, source, images, staging / FILES["source"])
    return dict(FILES)


def _facts(
    space: Space,
    arch: Arch,
    task: Task,
    recipe: Recipe,
    training: Training,
    seed: int,
    device: torch.device,
    label: Mapping[str, Any],
) -> dict[str, Any]:
    scorer = ProxyScorer(space, task, recipe, ["params", "macs"], batch_size=2, device="cpu")
    sizes = scorer.score(arch)
    return {
        "arch": space.format(arch),
        "space": space.name,
        "task": task.name,
        "fingerprint": study_fingerprint(space, task, recipe),
        "task_fingerprint": task.fingerprint,
        "recipe": recipe.to_dict(),
        "seed": seed,
        "device": str(device),
        "valid_accuracy": training.valid_accuracy,
        "test_accuracy": training.test_accuracy,
        "training_seconds": training.seconds,
        "label": dict(label),
        "input": {
            "name": "images",
            "dtype": "float32",
            "shape": ["batch", *task.input_shape],
            "unit": "the task's own; standardisation is part of the network",
            "mean": list(task.mean),
            "std": list(task.std),
        },
        "output": {"name": "logits", "shape": ["batch", task.num_classes]},
        "num_classes": task.num_classes,
        "params": int(sizes["params"].value),
        "macs": int(sizes["macs"].value),
        "versions": {"predictnas": __version__, "torch": torch.__version__},
    }


@contextlib.contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    """Make a folder inside `directory` that is gone afterwards; fail before time is spent."""
    with _write_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=directory, prefix=".export-")
    with folder as path:
        yield Path(path)


@contextlib.contextmanager
def _write_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{directory}: cannot be written ({error.strerror}); name another directory"
        ) from None
