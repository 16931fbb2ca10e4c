"""The trainer: one network, one task, one recipe, real epochs."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from predictnas.errors import CandidateError, InputError, is_out_of_memory
from predictnas.training.recipe import Recipe
from predictnas.training.tasks import Split, Task

__all__ = [
    "Epoch",
    "Training",
    "accuracy",
    "evaluate",
    "out_of_memory_fails",
    "resolve_device",
    "seeded",
    "train",
]


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training measured.

    Parameters
    ----------
    number
        Epoch, from 1.
    train_loss
        Mean training loss over the epoch's steps, as optimised (smoothed labels included).
    train_accuracy, valid_accuracy
        In percent; the training accuracy is that of the steps themselves, while weights move.
    valid_loss
        Mean cross-entropy of the validation images, without label smoothing.
    seconds
        Wall-clock time of the epoch, validation included.
    """

    number: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Training:
    """A finished training.

    Parameters
    ----------
    epochs
        Every epoch, in order.
    test_loss, test_accuracy
        Of the final weights: mean cross-entropy without label smoothing, and percent.
    seconds
        Wall-clock time of the whole training.
    cpu_seconds
        CPU time of this process during it, which other processes on the machine disturb less.
    """

    epochs: tuple[Epoch, ...]
    test_loss: float
    test_accuracy: float
    seconds: float
    cpu_seconds: float

    @property
    def valid_accuracy(self) -> float:
        """Validation accuracy of the last epoch, in percent (not the best one: no look ahead)."""
        return self.epochs[-1].valid_accuracy


def resolve_device(device: str) -> torch.device:
    """Return the device for ``"auto"`` (a GPU where there is one) or for a torch device name.

    Raises
    ------
    InputError
        If torch does not know or cannot reach the device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.ones(1, device=resolved).cpu()  # "meta" holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"device {device!r} cannot be used ({reason}); try 'auto'") from None
    return resolved


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block under torch's random streams seeded with ``seed``, and restore them after."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def out_of_memory_fails(device: torch.device | str) -> Iterator[None]:
    """Turn running out of memory into the failure of a candidate.

    Raises
    ------
    CandidateError
        In the place of what torch or Python raise.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise CandidateError(f"out of memory on {device}") from error


def train(
    network: nn.Module,
    task: Task,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[Epoch], None] | None = None,
    time_limit: float = math.inf,
) -> Training:
    """Train ``network`` in place and measure it.

    Parameters
    ----------
    network
        Maps images ``(n, channels, height, width)`` to logits ``(n, classes)``; its initial
        weights are the caller's business (see :func:`seeded`).
    task
        The images.
    recipe
        How to train. Its ``scale`` is not read: the network is built already.
    seed
        Seeds the order of the images, augmentation and dropout.
    device
        Where to train; the network stays there.
    on_epoch
        Called after every epoch; what it raises ends the training.
    time_limit
        Seconds after which the training is given up.

    Raises
    ------
    CandidateError
        If the loss is not finite, memory runs out or the time is up.
    InputError
        If the task has fewer training images than one batch.
    """
    if len(task.train) < recipe.batch_size:
        raise InputError(
            f"recipe: batch_size {recipe.batch_size} exceeds the {len(task.train)} training images "
            f"of task {task.name}; choose a smaller one"
        )
    start, cpu_start = time.monotonic(), time.process_time()
    with out_of_memory_fails(device), seeded(seed):
        network.to(device=device, memory_format=_memory_format(network))  # type: ignore[call-overload]
        splits = [split.to(device) for split in (task.train, task.valid, task.test)]
        epochs = _run_epochs(network, splits, recipe, seed, start, time_limit, on_epoch)
        test_loss, test_accuracy = evaluate(network, splits[2])
    seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu_start
    return Training(tuple(epochs), test_loss, test_accuracy, seconds, cpu_seconds)


def evaluate(network: nn.Module, split: Split) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy in percent of ``network`` on ``split``.

    Measured in eval mode; the network's mode is restored. The split must be on the network's
    device.
    """
    training = network.training
    network.eval()
    device = split.labels.device
    # Small on CPUs, whose caches larger ones leave; large on GPUs, which would wait for launches.
    batch_size = 128 if device.type == "cpu" else 1024
    loss, correct = torch.zeros((), device=device), torch.zeros((), device=device)
    with torch.no_grad():
        for images, labels in zip(
            torch.split(split.images, batch_size),
            torch.split(split.labels, batch_size),
            strict=True,
        ):
            logits = network(images)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
    network.train(training)
    return loss.item() / len(split), 100.0 * correct.item() / len(split)


def accuracy(network: nn.Module, split: Split) -> float:
    """Return the accuracy in percent that :func:`evaluate` measures."""
    return evaluate(network, split)[1]


def _run_epochs(
    network: nn.Module,
    splits: list[Split],
    recipe: Recipe,
    seed: int,
    start: float,
    time_limit: float,
    on_epoch: Callable[[Epoch], None] | None,
) -> list[Epoch]:
    train_split, valid_split = splits[:2]
    steps = len(train_split) // recipe.batch_size
    parameters = list(network.parameters())
    optimizer = _optimizer(network, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _learning_rate_factor(step, steps, recipe)
    )
    # On the CPU, so that a seed gives one order of images on every device.
    generator = torch.Generator().manual_seed(seed)
    epochs = []
    for number in range(1, recipe.epochs + 1):
        epoch_start = time.monotonic()
        network.train()
        loss_sum = torch.zeros((), device=train_split.labels.device)
        correct = torch.zeros((), device=train_split.labels.device)
        order = torch.randperm(len(train_split), generator=generator)
        for batch in torch.split(order.to(train_split.labels.device), recipe.batch_size)[:steps]:
            labels = train_split.labels[batch]
            images = _augment(train_split.images[batch], recipe, generator)
            logits = network(images)
            loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            _clip(parameters, recipe.gradient_clip)
            optimizer.step()
            schedule.step()
            loss_sum += loss.detach()
            correct += (logits.detach().argmax(1) == labels).sum()
            if time.monotonic() - start > time_limit:
                raise CandidateError(f"timed out after {time_limit:g} s in epoch {number}")
        # One look an epoch: asking after every step would make a GPU wait for it.
        if not math.isfinite(loss_sum.item()):
            raise CandidateError(f"diverged: the loss of epoch {number} is not finite")
        valid_loss, valid_accuracy = evaluate(network, valid_split)
        epoch = Epoch(
            number=number,
            train_loss=loss_sum.item() / steps,
            train_accuracy=100.0 * correct.item() / (steps * recipe.batch_size),
            valid_loss=valid_loss,
            valid_accuracy=valid_accuracy,
            seconds=time.monotonic() - epoch_start,
        )
        epochs.append(epoch)
        if on_epoch is not None:
            on_epoch(epoch)
    return epochs


def _memory_format(network: nn.Module) -> torch.memory_format:
    """Return channels last: pooling twice as fast on CPUs, convolutions somewhat, on GPUs too.

    Not for networks with convolutions of 1 × 1 with a stride and fewer than eight channels a group:
    oneDNN's derivative by their weights writes past a buffer where the processor has AVX2 at most
    (github.com/uxlfoundation/oneDNN/issues/6035).
    """
    narrow = any(
        module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.in_channels // module.groups < 8
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    )
    return torch.contiguous_format if narrow else torch.channels_last


def _clip(parameters: list[nn.Parameter], largest: float) -> None:
    """Scale the gradients so that their joint Euclidean norm is `largest` at most."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    # Most steps need no scaling, which small networks feel; to ask a GPU would be to wait for it.
    if norm.device.type != "cpu" or not norm <= largest:
        nn.utils.clip_grads_with_norm_(parameters, largest, norm)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    parameters = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.SGD(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        # One pass over each weight; small networks feel it.
        fused=all(p.device.type in _FUSED and p.is_floating_point() for p in parameters),
    )


_FUSED = ("cpu", "cuda")


def _learning_rate_factor(step: int, steps: int, recipe: Recipe) -> float:
    warmup = recipe.warmup_epochs * steps
    if step < warmup:
        return min((step + 1) / warmup, 1.0)  # a warm-up may end within a step
    total = max(recipe.epochs * steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / total, 1.0)))


def _augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Shift every image by its own offset (zeros come in) and mirror half of them."""
    count, _, height, width = images.shape
    if recipe.flip:
        mirrored = torch.rand(count, generator=generator).lt(0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if recipe.shift:
        shift = recipe.shift
        offsets = torch.randint(0, 2 * shift + 1, (2, count), generator=generator).to(images.device)
        padded = functional.pad(images, (shift, shift, shift, shift))
        rows = offsets[0][:, None] + torch.arange(height, device=images.device)
        columns = offsets[1][:, None] + torch.arange(width, device=images.device)
        which = torch.arange(count, device=images.device)[:, None, None]
        # Indexing moves the channels last; put them back.
        images = padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return images
