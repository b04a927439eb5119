"""Reading a backup from beginning to end, decompressed, within a deadline."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from svc_infra.data.lifecycle.errors import BrokenBackup

__all__ = ["DumpStream", "MissingDecompressor", "compression_of", "open_dump"]

_CHUNK = 1 << 18
_TAIL = 4096

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
)


class MissingDecompressor(Exception):
    """Nothing here can read this compression; the contents can't be judged."""


def compression_of(head: bytes) -> str | None:
    """Return how a file that begins with these bytes is compressed; None when it is not."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


class DumpStream:
    """Decompressed bytes, read forward, whose last ones are remembered.

    Args:
        source: The bytes.
        deadline: Monotonic time at which reading stops.
        clock: The monotonic clock.
    """

    def __init__(self, source: BinaryIO, deadline: float, clock: Callable[[], float]) -> None:
        self._source = source
        self._deadline = deadline
        self._clock = clock
        self.tail: bytes = b""
        self.position: int = 0
        self._pushed_back = b""

    @property
    def limits(self) -> tuple[float, Callable[[], float]]:
        """The deadline and the clock, for a stream inside this one."""
        return self._deadline, self._clock

    def peek(self, size: int) -> bytes:
        """Return the next bytes without consuming them."""
        while len(self._pushed_back) < size:
            more = self._source.read(size - len(self._pushed_back))
            if not more:
                break
            self._pushed_back += more
        return self._pushed_back[:size]

    def read(self, size: int = _CHUNK) -> bytes:
        """Return up to `size` bytes, and fewer only at the end.

        Raises:
            BrokenBackup: The time is up.
        """
        if self._clock() > self._deadline:
            raise BrokenBackup("timeout", "reading it took longer than allowed; raise timeout_seconds")
        parts = [self._pushed_back[:size]]
        self._pushed_back = self._pushed_back[size:]
        have = len(parts[0])
        while have < size:
            more = self._source.read(min(size - have, _CHUNK))
            if not more:
                break
            parts.append(more)
            have += len(more)
        data = b"".join(parts)
        self.position += have
        self.tail = data[-_TAIL:] if have >= _TAIL else (self.tail + data)[-_TAIL:]
        return data

    def exactly(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises:
            BrokenBackup: The stream ends before.
        """
        data = self.read(size)
        if len(data) < size:
            raise BrokenBackup("truncated", f"it ends in the middle, after {self.position} bytes of its contents")
        return data

    def skip(self, size: int) -> None:
        """Read over `size` bytes.

        Raises:
            BrokenBackup: The stream ends before.
        """
        while size > 0:
            size -= len(self.exactly(min(size, _CHUNK)))

    def drain(self) -> None:
        """Read to the end."""
        while self.read():
            pass


@contextmanager
def open_dump(
    path: Path, deadline: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[DumpStream, str | None]]:
    """Open a file for reading its contents; yield the stream and the name of the compression.

    Raises:
        BrokenBackup: The compressed data end early or are damaged (while reading).
        MissingDecompressor: Neither a module nor a program for this compression is installed.
    """
    with path.open("rb") as raw:
        name = compression_of(raw.read(8))
        raw.seek(0)
        try:
            with _decompress(raw, name) as source:
                yield DumpStream(source, deadline, clock), name
        except EOFError as error:
            raise BrokenBackup("truncated", f"the {name} data end before their end mark") from error
        except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise BrokenBackup("corrupt", f"the {name} data are damaged: {error}") from error
        except OSError as error:
            if name == "bzip2" and error.errno is None:  # bz2 has no class of its own for damaged data
                raise BrokenBackup("corrupt", f"the bzip2 data are damaged: {error}") from error
            raise


@contextmanager
def _decompress(raw: BinaryIO, name: str | None) -> Iterator[BinaryIO]:
    if name is None:
        yield raw
    elif name == "gzip":
        with gzip.open(raw, "rb") as source:
            yield cast("BinaryIO", source)
    elif name == "bzip2":
        with bz2.open(raw, "rb") as source:
            yield cast("BinaryIO", source)
    elif name == "xz":
        with lzma.open(raw, "rb") as source:
            yield cast("BinaryIO", source)
    else:
        with _by_program(raw, name) as source:
            yield source


@contextmanager
def _by_program(raw: BinaryIO, name: str) -> Iterator[BinaryIO]:
    # Python reads zstd from 3.14 on and lz4 not at all; the programs stand on the machines that make such dumps.
    program = shutil.which(name)
    if program is None:
        raise MissingDecompressor(f"it is compressed with {name}, and the program {name} is not installed here")
    os.lseek(raw.fileno(), 0, os.SEEK_SET)  # where the program starts; seek() moves only within Python's buffer
    process = subprocess.Popen(  # noqa: S603 - a program of ours with fixed arguments
        [program, "-d", "-c"], stdin=raw, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None  # noqa: S101 - for the type checker
    try:
        yield cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", _CheckedOutput(process, name))))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()


class _CheckedOutput(io.RawIOBase):
    """A program's output whose end is only believed when the program ends well."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self._process = process
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast("bytearray", buffer))
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        data = self._process.stdout.read(len(view))
        view[: len(data)] = data
        if not data and self._process.wait(timeout=10) != 0:
            text = b"" if self._process.stderr is None else self._process.stderr.read(200)
            raise BrokenBackup(
                "corrupt", f"the {self._name} data are damaged or end early: {text.decode(errors='replace').strip()}"
            )
        return len(data)
