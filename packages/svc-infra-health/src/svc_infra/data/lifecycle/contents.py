"""What a backup is, and whether it is whole: every format is read to its end, as its own restore program would."""

from __future__ import annotations

import sqlite3
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote

from svc_infra.data.lifecycle import postgres_archive
from svc_infra.data.lifecycle.errors import BrokenBackup
from svc_infra.data.lifecycle.streams import DumpStream, MissingDecompressor, open_dump

__all__ = ["Finding", "is_dump_folder", "read_file", "read_folder"]

_SQLITE_MAGIC = b"SQLite format 3\x00"
_MONGODUMP_MAGIC = b"\x6d\xe2\x99\x81"
_ZIP_MAGIC = b"PK\x03\x04"

# First words of a plain dump, its kind, and the words that its program writes last.
_PLAIN = (
    (b"-- PostgreSQL database cluster dump", "postgresql-plain", b"-- PostgreSQL database cluster dump complete"),
    (b"-- PostgreSQL database dump", "postgresql-plain", b"-- PostgreSQL database dump complete"),
    (b"-- MySQL dump", "mysql-plain", b"-- Dump completed"),
    (b"-- MariaDB dump", "mysql-plain", b"-- Dump completed"),
    (b"PRAGMA foreign_keys=OFF;", "sqlite-plain", b"COMMIT;"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What reading a backup has shown.

    Attributes:
        kind: The format, such as "postgresql-custom+gzip".
        complete: Whether it was read to its end.
        note: What could not be proven, and why.
    """

    kind: str
    complete: bool = True
    note: str | None = None


def is_dump_folder(path: Path) -> bool:
    """Return whether the folder is one backup: pg_dump -Fd, pg_basebackup or mongodump."""
    return (
        (path / "toc.dat").is_file()
        or (path / "backup_manifest").is_file()
        or any(path.glob("*.bson"))
        or any(path.glob("*.bson.gz"))
    )


def read_file(path: Path, deadline: float, clock: Callable[[], float]) -> Finding:
    """Recognise a file and read it to its end.

    Raises:
        BrokenBackup: It is damaged, ends early, or is of no known format.
    """
    try:
        with open_dump(path, deadline, clock) as (stream, compression):
            finding = _read_stream(path, stream, compression)
    except MissingDecompressor as missing:
        return Finding("unknown", complete=False, note=f"{path.name} was not read: {missing}")
    return finding if compression is None else replace(finding, kind=f"{finding.kind}+{compression}")


def _read_stream(path: Path, stream: DumpStream, compression: str | None) -> Finding:
    head = stream.peek(1024)
    if not head:
        raise BrokenBackup("truncated", "it has no contents")
    if head.startswith(postgres_archive.MAGIC):
        archive = postgres_archive.read_custom(stream)
        return Finding(f"postgresql-{archive.format}")
    if head.startswith(_SQLITE_MAGIC):
        return _read_sqlite(path, stream, compression)
    if head.startswith(_MONGODUMP_MAGIC):
        _read_mongodump_archive(stream)
        return Finding("mongodump-archive")
    if head.startswith(_ZIP_MAGIC) and compression is None:
        return _read_zip(path)
    if head[257:262] == b"ustar":
        return _read_tar(stream)
    if head[8:12] == b"DUCK":
        return _read_duckdb(path, compression)
    for first, kind, last in _PLAIN:
        if first in head:
            return _read_plain(stream, kind, last)
    raise BrokenBackup(
        "unknown-format",
        "it begins like no dump that is known here; pass contents=False for encrypted or home-made backups",
    )


def _read_plain(stream: DumpStream, kind: str, last: bytes) -> Finding:
    stream.drain()
    if last not in stream.tail:
        # mysqldump writes its last line only with comments on; a first line of comment says that they are.
        raise BrokenBackup("truncated", f"its last line, {last.decode()!r}, is missing: the dump did not finish")
    return Finding(kind)


def _read_sqlite(path: Path, stream: DumpStream, compression: str | None) -> Finding:
    if compression is None:
        _check_sqlite(path)
        return Finding("sqlite")
    with tempfile.TemporaryDirectory(prefix="backup-check-") as folder:
        unpacked = Path(folder) / "database"
        with unpacked.open("wb") as file:
            while data := stream.read():
                file.write(data)
        _check_sqlite(unpacked)
    return Finding("sqlite")


def _check_sqlite(path: Path) -> None:
    # immutable: a backup is not written to, and SQLite must not make -wal and -shm files beside it.
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    try:
        answers = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as error:
        raise BrokenBackup("corrupt", f"SQLite can't read it: {error}") from error
    finally:
        connection.close()
    if answers != ["ok"]:
        raise BrokenBackup("corrupt", f"SQLite's integrity check says: {'; '.join(answers)}")


def _read_duckdb(path: Path, compression: str | None) -> Finding:
    try:
        import duckdb
    except ImportError:
        return Finding(
            "duckdb", complete=False, note=f"{path.name} was only recognised: the duckdb package is not installed"
        )
    if compression is not None:
        return Finding(
            "duckdb", complete=False, note=f"{path.name} was only recognised: compressed DuckDB files are not unpacked"
        )
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
            for schema, table in tables:
                connection.table(f'"{schema}"."{table}"').aggregate("count(*)").fetchall()
    except duckdb.Error as error:
        raise BrokenBackup("corrupt", f"DuckDB can't read it: {str(error).splitlines()[0]}") from error
    return Finding("duckdb")


def _read_mongodump_archive(stream: DumpStream) -> None:
    # https://github.com/mongodb/mongo-tools/blob/master/common/archive: documents, each group ended by 0xFFFFFFFF.
    stream.skip(4)
    ended = False
    while stream.peek(1):
        (size,) = struct.unpack("<i", stream.exactly(4))
        ended = size == -1
        if not ended:
            if size < 5:
                raise BrokenBackup("corrupt", f"it holds a document of {size} bytes")
            stream.skip(size - 4)
    if not ended:
        raise BrokenBackup("truncated", "its last group of documents has no end mark")


def _read_bson(stream: DumpStream) -> None:
    while stream.peek(1):
        (size,) = struct.unpack("<i", stream.exactly(4))
        if size < 5:
            raise BrokenBackup("corrupt", f"it holds a document of {size} bytes")
        stream.skip(size - 5)
        if stream.exactly(1) != b"\0":
            raise BrokenBackup("corrupt", "a document does not end with its end mark")


def _read_zip(path: Path) -> Finding:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except zipfile.BadZipFile as error:
        raise BrokenBackup("truncated", f"the zip file can't be read: {error}") from error
    if broken is not None:
        raise BrokenBackup("corrupt", f"{broken} in the zip file is damaged")
    return Finding("zip")


def _read_tar(stream: DumpStream) -> Finding:
    names: set[str] = set()
    archive: postgres_archive.ArchiveHead | None = None
    try:
        with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as tar:
            for member in tar:
                names.add(member.name)
                file = tar.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                inner = DumpStream(cast("BinaryIO", file), *stream.limits)
                if member.name == "toc.dat":
                    archive = postgres_archive.read_head(inner)
                inner.drain()
                if inner.position != member.size:
                    raise BrokenBackup("truncated", f"{member.name} in it ends early")
    except tarfile.TarError as error:
        raise BrokenBackup("truncated", f"the tar file can't be read to its end: {error}") from error
    stream.drain()
    if not stream.tail.endswith(bytes(1024)):
        raise BrokenBackup("truncated", "the tar file has no end mark")
    if archive is None:
        return Finding("tar")
    missing = [name for name in archive.data_files if name not in names]
    if missing:
        raise BrokenBackup(
            "truncated", f"{len(missing)} files of its table of contents are missing, such as {missing[0]}"
        )
    return Finding("postgresql-tar")


def read_folder(path: Path, deadline: float, clock: Callable[[], float]) -> Finding:
    """Recognise a folder and read all of its files.

    Raises:
        BrokenBackup: A file is missing, damaged, or ends early.
    """
    if (path / "toc.dat").is_file():
        return _read_directory_format(path, deadline, clock)
    if (path / "backup_manifest").is_file():
        return _read_base_backup(path, deadline, clock)
    for file in sorted(path.glob("*.bson*")):
        with _named(file), open_dump(file, deadline, clock) as (stream, _):
            _read_bson(stream)
    return Finding("mongodump-folder")


def _read_directory_format(path: Path, deadline: float, clock: Callable[[], float]) -> Finding:
    with open_dump(path / "toc.dat", deadline, clock) as (stream, _):
        head = postgres_archive.read_head(stream)
    for name in head.data_files:
        # The table of contents holds the name without the ending of the compression.
        candidates = [path / name, *(path / f"{name}{ending}" for ending in (".gz", ".lz4", ".zst"))]
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is None:
            raise BrokenBackup("truncated", f"{name}, named by its table of contents, is missing")
        try:
            with _named(file), open_dump(file, deadline, clock) as (stream, _):
                stream.drain()
        except MissingDecompressor as missing:
            return Finding("postgresql-directory", complete=False, note=str(missing))
    return Finding("postgresql-directory")


def _read_base_backup(path: Path, deadline: float, clock: Callable[[], float]) -> Finding:
    import hashlib
    import json

    # https://www.postgresql.org/docs/current/backup-manifest-format.html
    try:
        manifest = json.loads((path / "backup_manifest").read_bytes())
        files: list[dict[str, object]] = manifest["Files"]
    except (ValueError, KeyError) as error:
        raise BrokenBackup("corrupt", "its backup_manifest can't be read") from error
    packed = not (path / "PG_VERSION").is_file()
    if packed:
        for file in sorted(path.glob("*.tar*")):
            with _named(file), open_dump(file, deadline, clock) as (stream, _):
                _read_tar(stream)
        return Finding("postgresql-base-tar")
    unproven = False
    for entry in files:
        file = path / str(entry.get("Path", ""))
        if not file.is_file():
            raise BrokenBackup("truncated", f"{entry.get('Path')}, named by its manifest, is missing")
        if file.stat().st_size != entry.get("Size"):
            raise BrokenBackup("corrupt", f"{entry['Path']} has {file.stat().st_size} bytes, not {entry.get('Size')}")
        algorithm = str(entry.get("Checksum-Algorithm", "NONE")).lower()
        if algorithm in hashlib.algorithms_available:
            with file.open("rb") as stream:
                if hashlib.file_digest(stream, algorithm).hexdigest() != entry.get("Checksum"):
                    raise BrokenBackup("corrupt", f"{entry['Path']} does not match its checksum in the manifest")
        else:
            unproven = True  # CRC32C, PostgreSQL's default, is not in Python
        if clock() > deadline:
            raise BrokenBackup("timeout", "reading it took longer than allowed; raise timeout_seconds")
    note = (
        "sizes were compared, not the manifest's CRC32C checksums: run pg_verifybackup for those" if unproven else None
    )
    return Finding("postgresql-base", complete=not unproven, note=note)


class _named:  # noqa: N801 - reads as a clause
    """Prefix what goes wrong inside with the name of the file."""

    def __init__(self, file: Path) -> None:
        self._name = file.name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BrokenBackup) and error.kind != "timeout":
            raise BrokenBackup(error.kind, f"{self._name}: {error}") from error
