"""Tasks, recipes and the trainer that labels architectures."""

from predictnas.training.objective import (
    Candidate,
    TrainingObjective,
    copy_label,
    train_architecture,
)
from predictnas.training.recipe import Recipe, default_recipe, study_fingerprint
from predictnas.training.tasks import TASKS, Split, Task, load_task, read_npz
from predictnas.training.trainer import Epoch, Training, accuracy, resolve_device, seeded, train

__all__ = [
    "TASKS",
    "Candidate",
    "Epoch",
    "Recipe",
    "Split",
    "Task",
    "Training",
    "TrainingObjective",
    "accuracy",
    "copy_label",
    "default_recipe",
    "load_task",
    "read_npz",
    "resolve_device",
    "seeded",
    "study_fingerprint",
    "train",
    "train_architecture",
]
