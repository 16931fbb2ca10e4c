"""What the command line shows: progress, tables, one-line errors, JSON files."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from predictnas.errors import InputError
from predictnas.evaluation.json_values import json_value
from predictnas.training import Epoch

__all__ = [
    "OUT",
    "TrialDisplay",
    "check_outputs",
    "progress",
    "say",
    "show_table",
    "write_json",
]

OUT = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line as it is."""
    OUT.print(text, markup=False)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers stand right, floats with four digits."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    cells = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = cells and all(isinstance(row[index], int | float) for row in cells)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(_text(value) for value in row))
    # As wide as it needs: a terminal wraps whole lines, and files and pipes keep all of them.
    options = OUT.options.update(max_width=10_000)
    width = Measurement.get(OUT, options, table).maximum
    Console(highlight=False, width=max(width, OUT.width)).print(table)


def check_outputs(*paths: Path | None) -> None:
    """Make sure that files can be written before work begins whose result goes there.

    Raises
    ------
    InputError
        If one is a directory or its directory cannot be written.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f"{path}: is a directory; name a file in it")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def write_json(path: Path | None, value: Any) -> None:
    """Write ``value`` as JSON, not-a-number as null; with no path, do nothing.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    if path is None:
        return
    text = json.dumps(json_value(value), indent=1, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A reader never sees half a file.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
        Path(temporary).replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar; yields the function that advances it by one.

    Where the output is not a terminal, one line stands for every tenth of the work instead.
    """
    if not OUT.is_terminal:
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            if total >= 10 and done * 10 // total > (done - 1) * 10 // total:
                say(f"{what}: {done} of {total}")

        yield advance
        return
    with _bar(transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


class TrialDisplay:
    """Shows a running study: a bar within trials and a line after each.

    Parameters
    ----------
    total
        Trials that the study shall hold at the end.
    finished
        Trials that it holds at the beginning.
    epochs
        Epochs a trial.
    """

    def __init__(self, total: int, finished: int, epochs: int) -> None:
        self.total = total
        self.epochs = epochs
        self._bar = _bar(transient=True, disable=not OUT.is_terminal)
        self._task = self._bar.add_task(
            "training", total=total * epochs, completed=finished * epochs
        )
        self._finished = finished
        self._running: dict[int, int] = {}  # trial → epochs

    def __enter__(self) -> "TrialDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_epoch(self, trial: optuna.Trial, epoch: Epoch) -> None:
        """Advance the bar by an epoch."""
        self._running[trial.number] = epoch.number
        self._bar.update(
            self._task,
            completed=self._completed,
            description=f"trial {trial.number}: epoch {epoch.number}/{self.epochs}, "
            f"{epoch.valid_accuracy:.2f} %",
        )

    def on_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Print the line of a finished trial (an Optuna callback)."""
        self._finished += 1
        self._running.pop(trial.number, None)
        attrs = trial.user_attrs
        parts = [f"trial {trial.number:>3}"]
        if trial.value is not None:
            best = trial.number == study.best_trial.number
            parts.append(f"{trial.value:6.2f} %{' best' if best else '     '}")
        else:
            parts.append(f"{trial.state.name.lower():<13}")
        if "predicted_mean" in attrs:
            parts.append(f"forecast {attrs['predicted_mean']:6.2f} ± {attrs['predicted_std']:5.2f}")
        else:
            parts.append(f"{attrs.get('origin', ''):<22}"[:22])
        parts.append(attrs.get("arch", ""))
        if "copied_from" in attrs:
            parts.append(f"(label of trial {attrs['copied_from']})")
        if "failure" in attrs:
            parts.append(attrs["failure"])
        self._bar.console.print("  ".join(parts), markup=False)
        self._bar.update(self._task, completed=self._completed)

    @property
    def _completed(self) -> int:
        return self._finished * self.epochs + sum(self._running.values())


def _bar(**options: Any) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=OUT,
        **options,
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4f}"
    return str(value)
