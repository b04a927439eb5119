"""PostgreSQL's archive formats (pg_dump -Fc, -Ft, -Fd), read without PostgreSQL's programs.

`pg_restore --list` reads the table of contents, which stands at the beginning: it finds nothing wrong with a file whose
second half is missing. This walks the data blocks to the end and compares them with the table of contents.

The layout is that of src/bin/pg_dump/pg_backup_archiver.c and pg_backup_custom.c, archive versions 1.12 (PostgreSQL
9.0) to 1.16 (PostgreSQL 17 and 18).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from svc_infra.data.lifecycle.errors import BrokenBackup
from svc_infra.data.lifecycle.streams import DumpStream

__all__ = ["MAGIC", "ArchiveHead", "read_custom", "read_head"]

MAGIC = b"PGDMP"

_FORMATS = {1: "custom", 3: "tar", 5: "directory"}
_ALGORITHMS = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}
_NO_DATA = 3
_DATA_BLOCK, _BLOB_BLOCK = 1, 3
_LARGEST_TEXT = 1 << 30


@dataclass
class ArchiveHead:
    """What the head and the table of contents say.

    Attributes:
        version: The archive version, such as (1, 14).
        format: "custom", "tar" or "directory".
        compression: How data blocks are compressed.
        database: Name of the dumped database.
        entries: Number of entries in the table of contents.
        data_ids: Dump ids of the entries with data (custom format).
        data_files: Names of the files with data (tar and directory formats).
    """

    version: tuple[int, int]
    format: str
    compression: str
    database: str
    entries: int
    data_ids: set[int] = field(default_factory=set)
    data_files: list[str] = field(default_factory=list)


class _Reader:
    def __init__(self, stream: DumpStream) -> None:
        self.stream = stream
        self.int_size = 4
        self.offset_size = 8

    def byte(self) -> int:
        return self.stream.exactly(1)[0]

    def integer(self) -> int:
        sign = self.byte()
        value = int.from_bytes(self.stream.exactly(self.int_size), "little")
        return -value if sign else value

    def text(self) -> str | None:
        size = self.integer()
        if size < 0:
            return None
        if size > _LARGEST_TEXT:
            raise BrokenBackup("corrupt", f"its table of contents names a text of {size} bytes")
        return self.stream.exactly(size).decode("utf-8", "replace")


def read_head(stream: DumpStream) -> ArchiveHead:
    """Read the head and the table of contents.

    Raises:
        BrokenBackup: It is damaged, ends early, or is of a version that is not known.
    """
    return _read_head(_Reader(stream))


def _read_head(reader: _Reader) -> ArchiveHead:
    if reader.stream.exactly(5) != MAGIC:
        raise BrokenBackup("corrupt", "it does not begin like a PostgreSQL archive")
    version = (reader.byte(), reader.byte())
    reader.byte()  # revision
    if not (1, 12) <= version <= (1, 16):
        raise BrokenBackup("unknown-format", f"its archive version {version[0]}.{version[1]} is not known here")
    reader.int_size = reader.byte()
    reader.offset_size = reader.byte()
    archive_format = _FORMATS.get(reader.byte())
    if archive_format is None or reader.int_size not in (4, 8) or reader.offset_size not in (4, 8):
        raise BrokenBackup("corrupt", "its head is damaged")
    if version >= (1, 15):
        compression = _ALGORITHMS.get(reader.byte(), "unknown")
    else:
        compression = "none" if reader.integer() == 0 else "gzip"
    for _ in range(7):  # the time of the dump
        reader.integer()
    database = reader.text() or ""
    reader.text()  # version of the server
    reader.text()  # version of pg_dump
    count = reader.integer()
    head = ArchiveHead(version, archive_format, compression, database, count)
    for _ in range(count):
        _read_entry(reader, head)
    return head


def _read_entry(reader: _Reader, head: ArchiveHead) -> None:
    dump_id = reader.integer()
    reader.integer()  # whether there is data; the last field says it reliably
    for _ in range(3):  # table oid, oid, tag
        reader.text()
    description = reader.text()
    reader.integer()  # section
    for _ in range(5):  # definition, drop and copy statements, namespace, tablespace
        reader.text()
    if head.version >= (1, 14):
        reader.text()  # access method
    if head.version >= (1, 16):
        reader.integer()  # kind of relation
    reader.text()  # owner
    reader.text()  # WITH OIDS
    while reader.text() is not None:  # dependencies
        pass
    if head.format == "custom":
        state = reader.byte()
        reader.stream.exactly(reader.offset_size)
        if state != _NO_DATA:
            head.data_ids.add(dump_id)
    else:
        name = reader.text()
        # The tar format puts each large object into a file of its own, and none of this entry's name.
        if name and not (head.format == "tar" and description == "BLOBS"):
            head.data_files.append(name)


def read_custom(stream: DumpStream) -> ArchiveHead:
    """Read an archive in custom format to its end, and undo gzip compression, whose checksums prove the data.

    Raises:
        BrokenBackup: It is damaged or ends early.
    """
    reader = _Reader(stream)
    head = _read_head(reader)
    found: set[int] = set()
    while stream.peek(1):
        kind = reader.byte()
        dump_id = reader.integer()
        if kind == _DATA_BLOCK:
            _read_block(reader, head)
        elif kind == _BLOB_BLOCK:
            while reader.integer() != 0:
                _read_block(reader, head)
        else:
            raise BrokenBackup("corrupt", f"a data block is of the unknown kind {kind}")
        found.add(dump_id)
    missing = head.data_ids - found
    if missing:
        raise BrokenBackup(
            "truncated",
            f"the data of {len(missing)} of {len(head.data_ids)} entries of its table of contents are missing",
        )
    return head


def _read_block(reader: _Reader, head: ArchiveHead) -> None:
    inflate = zlib.decompressobj() if head.compression == "gzip" else None
    empty = True
    while (size := reader.integer()) != 0:
        if size < 0:
            raise BrokenBackup("corrupt", "a data block has a negative size")
        empty = False
        while size > 0:
            piece = reader.stream.exactly(min(size, 1 << 14))  # inflated, up to a thousand times as much
            size -= len(piece)
            if inflate is not None:
                try:
                    inflate.decompress(piece)
                except zlib.error as error:
                    raise BrokenBackup("corrupt", f"a data block is damaged: {error}") from error
    if inflate is not None and not empty and not inflate.eof:
        raise BrokenBackup("corrupt", "the compressed data of a block end early")
