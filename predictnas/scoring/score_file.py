"""A file of scores that grows, and loses nothing when the process that writes it is killed."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np
import pandas as pd

import proxies
from predictnas.errors import InputError
from predictnas.scoring.scorer import score_table
from predictnas.scoring.setting import ArchScores, lacked_memory
from predictnas.spaces import Arch, Space
from predictnas.tables import read_metadata, read_table, table_suffix, write_table

__all__ = ["ScoreFile"]

PROVENANCE = "provenance"
"""Column of a CSV file whose first row says in JSON what Parquet keeps in its metadata."""


@dataclass
class _Row:
    """An architecture in the spelling that was scored, and its scores so far."""

    arch: str
    scores: ArchScores = field(default_factory=dict)


class ScoreFile:
    """The scores of one space under one set of conditions, as a table file and its journal.

    Every row is appended at once to a journal beside the file, ``FILE.partial``: a line of
    JSON, the first one with the conditions. A last line that was cut off is ignored. From time
    to time, at the end as a rule, the table is written anew, whole or not at all, and the
    journal removed. Made by :meth:`open`.

    Parameters
    ----------
    path
        A Parquet or CSV file.
    space
        The space of the architectures.
    conditions
        What the scores depend on, see :meth:`~predictnas.scoring.ProxyScorer.conditions`.
    """

    def __init__(self, path: Path, space: Space, conditions: Mapping[str, Any]) -> None:
        self.path = path
        self.space = space
        self.conditions = dict(conditions)
        self._journal = path.with_name(f"{path.name}.partial")
        self._stream: BinaryIO | None = None
        self._complete_bytes = 0
        self._rows: dict[str, _Row] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, space: Space, conditions: Mapping[str, Any]) -> Iterator["ScoreFile"]:
        """Open the file for one writer, with what it and its journal hold.

        Raises
        ------
        InputError
            If they hold scores of other conditions or something else, are damaged, or another
            process writes to them.
        """
        with _lock(path):
            file = cls(path, space, conditions)
            if path.exists():
                file._read_table()
            if file._journal.exists():
                file._read_journal()
            try:
                yield file
            finally:
                file._close()

    def __len__(self) -> int:
        """Return the number of architectures."""
        return len(self._rows)

    def missing(self, key: str, names: Sequence[str]) -> list[str]:
        """Return which proxies of an architecture have not been computed.

        A proxy that failed for want of memory counts among them.
        """
        row = self._rows.get(key)
        scores = {} if row is None else row.scores
        return [name for name in names if name not in scores or lacked_memory(scores[name][1])]

    def arch(self, key: str) -> Arch | None:
        """Return the architecture that the file holds the scores of, None where it holds none."""
        row = self._rows.get(key)
        return None if row is None else self.space.parse(row.arch)

    def add(self, key: str, arch: str, scores: ArchScores) -> None:
        """Keep scores of an architecture, on disk when this returns.

        Raises
        ------
        InputError
            If they cannot be written.
        """
        known = self._rows.get(key) or _Row(arch)
        line = {
            "arch": known.arch,
            "scores": {
                name: [value if math.isfinite(value) else None, status]
                for name, (value, status) in scores.items()
            },
        }
        self._append(line)
        known.scores.update(scores)
        self._rows[key] = known

    def table(self, keys: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
        """Return the rows of those of the architectures that there are, as a table."""
        rows = [self._rows[key] for key in keys if key in self._rows]
        return score_table([row.arch for row in rows], [row.scores for row in rows], names)

    def write(self, keys: Sequence[str], provenance: Mapping[str, Any]) -> None:
        """Write the table and remove the journal.

        Parameters
        ----------
        keys
            Architectures whose rows come first, in this order; other rows follow.
        provenance
            The conditions, with what else is worth noting.

        Raises
        ------
        InputError
            If the file cannot be written; the journal stays.
        """
        if not self._rows:
            return
        scored = {name for row in self._rows.values() for name in row.scores}
        names = [name for name in proxies.PROXIES if name in scored]
        names += sorted(scored.difference(names))
        table = self.table(list(dict.fromkeys([*keys, *self._rows])), names)
        metadata = {**provenance, **self.conditions, "proxies": names}
        if table_suffix(self.path) != ".parquet":
            noted = json.dumps(metadata, sort_keys=True)
            table[PROVENANCE] = [noted, *[None] * (len(table) - 1)]
        write_table(table, self.path, metadata=metadata)
        self._close()
        self._journal.unlink(missing_ok=True)

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            if self._stream is None:
                self._stream = self._journal.open("r+b" if self._complete_bytes else "wb")
                # What was cut off goes, lest the next line continue it.
                self._stream.truncate(self._complete_bytes)
                self._stream.seek(self._complete_bytes)
                if not self._complete_bytes:
                    self._write_line({"conditions": self.conditions})
            self._write_line(line)
        except OSError as error:
            raise InputError(f"{self._journal}: cannot be written: {error.strerror}") from None

    def _write_line(self, line: Mapping[str, Any]) -> None:
        assert self._stream is not None
        self._stream.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._stream.flush()

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _read_table(self) -> None:
        frame = read_table(self.path)
        metadata = read_metadata(self.path)
        if PROVENANCE in frame.columns:
            noted = frame[PROVENANCE].dropna()
            with contextlib.suppress(ValueError):
                metadata = json.loads(str(noted.iloc[0])) if len(noted) == 1 else {}
        names = [str(c).removeprefix("proxy_") for c in frame if str(c).startswith("proxy_")]
        columns = {"arch", *(f"{kind}_{name}" for name in names for kind in ("proxy", "status"))}
        if not isinstance(metadata, dict) or set(map(str, frame)) - {PROVENANCE} != columns:
            metadata = {}
        self._check(self.path, {name: metadata.get(name) for name in self.conditions})
        values = {name: frame[f"proxy_{name}"].to_numpy(dtype=np.float64) for name in names}
        statuses = {name: frame[f"status_{name}"].tolist() for name in names}
        for number, text in enumerate(map(str, frame["arch"])):
            scores = {
                name: (float(values[name][number]), statuses[name][number])
                for name in names
                if isinstance(statuses[name][number], str)  # else it has not been computed
            }
            self._take(self.path, number + 1, text, scores)

    def _read_journal(self) -> None:
        try:
            content = self._journal.read_bytes()
        except OSError as error:
            raise InputError(f"{self._journal}: cannot be read: {error.strerror}") from None
        self._complete_bytes = content.rfind(b"\n") + 1
        for number, text in enumerate(content[: self._complete_bytes].splitlines()):
            try:
                line = json.loads(text)
                if number == 0:
                    conditions = dict(line["conditions"])
                else:
                    arch = str(line["arch"])
                    scores = {
                        name: (math.nan if value is None else float(value), str(status))
                        for name, (value, status) in line["scores"].items()
                    }
            except (ValueError, KeyError, TypeError, AttributeError):
                raise InputError(
                    f"{self._journal}: line {number + 1} is not one of scores; delete this "
                    f"journal (what stands in it is lost) or choose another --out"
                ) from None
            if number == 0:
                self._check(self._journal, conditions)
            else:
                self._take(self._journal, number + 1, arch, scores)

    def _take(self, source: Path, number: int, arch: str, scores: ArchScores) -> None:
        try:
            key = self.space.key(self.space.parse(arch))
        except InputError as error:
            raise InputError(f"{source}, row {number}: {error}") from None
        self._rows.setdefault(key, _Row(arch)).scores.update(scores)

    def _check(self, source: Path, found: Mapping[str, Any]) -> None:
        if all(value is None for value in found.values()):
            raise InputError(
                f"{source}: is there already and does not say what its scores depend on; choose "
                "another --out, or delete it"
            )
        ours, theirs = _flat(self.conditions), _flat(found)
        differences = [
            f"{name} {theirs.get(name)} where this command has {ours.get(name)}"
            for name in dict.fromkeys([*ours, *theirs])
            if ours.get(name) != theirs.get(name)
        ]
        if differences:
            raise InputError(
                f"{source}: holds other scores: {', '.join(differences)}; choose another --out, "
                "or delete it"
            )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested conditions by names as ``scale.channels`` spells them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    lock = filelock.FileLock(f"{path}.writer")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise InputError(
            f"{path}: another process is writing to it; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
