"""Where studies are: addresses, storages of Optuna, and who may write to a file."""

import contextlib
import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import optuna
from optuna.trial import FrozenTrial

from predictnas.errors import InputError

__all__ = [
    "StudyAddress",
    "check_holds_studies",
    "hold_lock",
    "open_storage",
    "storage_errors",
    "storage_for_writing",
]

_SQLITE = "sqlite:///"
_JOURNAL = "journal:///"
_GRPC = "grpc://"
_HEARTBEAT_SECONDS = 60


@dataclass(frozen=True)
class StudyAddress:
    """Where a study is: a storage and, where the storage holds several, a name.

    Written ``STORAGE#NAME``: ``sqlite:///labels.db#nasbench201-digits-1f0c…``.

    Parameters
    ----------
    storage
        URL of an Optuna storage: ``sqlite:///file.db``, ``journal:///file.log``,
        ``grpc://host:port``, ``postgresql://…``, ``mysql://…``.
    name
        Name of the study, or None: the one that fits.
    """

    storage: str
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> "StudyAddress":
        """Read ``STORAGE`` or ``STORAGE#NAME``.

        Raises
        ------
        InputError
            If ``text`` is not the URL of a storage.
        """
        storage, _, name = text.partition("#")
        if "://" not in storage:
            raise InputError(
                f"expected the URL of a study such as sqlite:///labels.db#name, found {text!r}"
            )
        return cls(storage, name or None)

    @property
    def file(self) -> Path | None:
        """The file of a storage that is one, else None."""
        for prefix in (_SQLITE, _JOURNAL):
            if self.storage.startswith(prefix):
                return Path(self.storage.removeprefix(prefix))
        return None

    def __str__(self) -> str:
        return f"{self.storage}#{self.name}" if self.name else self.storage


@contextlib.contextmanager
def hold_lock(address: StudyAddress) -> Iterator[None]:
    """Hold the lock beside a storage that is a file; servers look after themselves.

    Raises
    ------
    InputError
        If another process holds it, or it cannot be written.
    """
    if address.file is None:
        yield
        return
    try:
        address.file.parent.mkdir(parents=True, exist_ok=True)
        # Not ".lock": that is the name of the lock that Optuna puts beside a journal.
        lock = filelock.FileLock(f"{address.file}.writer")
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise InputError(
            f"{address.file}: another process is writing to this study; wait for it, or use a "
            "storage for several writers such as postgresql://"
        ) from None
    except OSError as error:
        raise InputError(f"{address.file}: cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def storage_errors(address: StudyAddress) -> Iterator[None]:
    """Turn what database drivers raise into one line of our own."""
    import sqlalchemy.exc

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", cause)).splitlines()[0]
        raise InputError(f"{address.storage}: the storage cannot be used: {reason}") from error


@contextlib.contextmanager
def storage_for_writing(
    address: StudyAddress,
    on_stale: Callable[[optuna.Study, FrozenTrial], None] | None = None,
) -> Iterator[optuna.storages.BaseStorage]:
    """Open the storage of an address for many small writes, and close it in the end.

    A trial is some thirty of them. An SQLite file keeps a write-ahead log beside it while it is
    open: nothing is lost when the process is killed, and after a power failure at most the last
    seconds are, where waiting for the disk after each write takes a second a trial.

    Where the last record of a journal was cut off, the rest of it is dropped.

    Parameters and exceptions are those of :func:`open_storage`.
    """
    import sqlalchemy.event

    if address.storage.startswith(_JOURNAL):
        _drop_torn_line(address.file)
    storage = open_storage(address, on_stale)
    if not address.storage.startswith(_SQLITE):
        yield storage
        return
    assert isinstance(storage, optuna.storages.RDBStorage)
    storage.engine.dispose()  # of the connections that were made without a log
    sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
    try:
        yield storage
    finally:
        # The last connection that closes takes the log into the file.
        storage.remove_session()
        storage.engine.dispose()


def _drop_torn_line(journal: Path | None) -> None:
    """Cut off what follows the last whole line, where a process was killed as it wrote.

    Optuna reads over it, but would write the next record behind it, into the same line.
    """
    if journal is None or not journal.is_file():
        return
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content) and _is_record(content.partition(b"\n")[0]):
        os.truncate(journal, whole)


def _is_record(line: bytes) -> bool:
    """Whether the line is one of Optuna's journals, and the file no other one given by mistake."""
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and "op_code" in record


def _write_ahead(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def open_storage(
    address: StudyAddress,
    on_stale: Callable[[optuna.Study, FrozenTrial], None] | None = None,
) -> optuna.storages.BaseStorage:
    """Return the storage of an address.

    Parameters
    ----------
    address
        Where.
    on_stale
        Called with the study and a trial whose worker has stopped sending heartbeats; for
        database servers.

    Raises
    ------
    InputError
        If the URL is malformed, a file is damaged or a driver is missing.
    """
    url, file = address.storage, address.file
    if url.startswith(_JOURNAL):
        from optuna.storages.journal import JournalFileBackend

        try:
            return optuna.storages.JournalStorage(JournalFileBackend(str(file)))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{file}: not a journal of studies: {error}") from None
    if url.startswith(_GRPC):
        host, _, port = url.removeprefix(_GRPC).partition(":")
        if not port.isdigit():
            raise InputError(f"expected grpc://HOST:PORT, found {url!r}")
        try:
            return optuna.storages.GrpcStorageProxy(host=host, port=int(port))
        except ImportError as error:
            raise InputError(f"{url}: needs the package grpcio: {error}") from None
    if file is not None:
        _check_sqlite(file)
        return optuna.storages.RDBStorage(url)
    if url.startswith("sqlite"):
        raise InputError(f"expected sqlite:///FILE with three slashes, found {url!r}")

    try:
        with warnings.catch_warnings():
            # Heartbeats are marked experimental; they are what tells a dead worker from a slow one.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.RDBStorage(
                url,
                heartbeat_interval=_HEARTBEAT_SECONDS,
                heartbeat_stale_trial_callback=on_stale,
            )
    except ImportError as error:
        raise InputError(f"{url}: its database driver is missing: {error}") from None
    except ValueError as error:
        raise InputError(f"{url}: not a storage: {str(error).splitlines()[0]}") from None


def check_holds_studies(address: StudyAddress) -> None:
    """Refuse to read studies from an SQLite file of something else, before Optuna adds to it.

    Raises
    ------
    InputError
        If the file has no table of studies, or is damaged.
    """
    if address.file is None or not address.storage.startswith(_SQLITE):
        return
    _check_sqlite(address.file)
    with contextlib.closing(sqlite3.connect(address.file.absolute().as_uri(), uri=True)) as found:
        tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
    if "studies" not in tables:
        raise InputError(f"{address.file}: holds no study; label or search makes one")


def _check_sqlite(file: Path) -> None:
    """Refuse a damaged file before anything is written to it."""
    if not file.exists():
        return
    try:
        # Read-write, so that SQLite can roll back what a killed process left half written.
        uri = f"{file.absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise InputError(f"{file}: cannot be opened as a study: {error}") from None
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        raise InputError(
            f"{file}: the SQLite file is damaged ({verdict.splitlines()[0]}); "
            "restore it from a copy or name another file"
        )
