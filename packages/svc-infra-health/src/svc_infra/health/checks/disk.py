"""Whether a file system has room left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from svc_infra.health.check import Check, Worker
from svc_infra.health.report import Outcome

__all__ = ["check_disk"]


def check_disk(
    path: str | os.PathLike[str] = "/",
    *,
    min_free_percent: float = 5.0,
    warn_free_percent: float = 10.0,
    min_free_bytes: int = 0,
) -> Check:
    """Return a check of the free space, and the free inodes, of the file system that holds `path`.

    Args:
        path: A file or folder on the file system.
        min_free_percent: Below this share of free space or inodes the check is unhealthy.
        warn_free_percent: Below this share it is degraded.
        min_free_bytes: Below this many free bytes it is unhealthy.

    Raises:
        ValueError: The limits contradict one another.
    """
    if not 0 <= min_free_percent <= warn_free_percent <= 100:
        raise ValueError(
            f"check_disk needs 0 <= min_free_percent <= warn_free_percent <= 100, "
            f"not {min_free_percent!r} and {warn_free_percent!r}"
        )
    worker = Worker()

    def measure() -> Outcome:
        usage = shutil.disk_usage(path)
        free = 100.0 * usage.free / usage.total if usage.total else 0.0
        what = "space"
        if hasattr(os, "statvfs"):
            inodes = os.statvfs(path)
            # Some file systems (btrfs, many network ones) have no fixed number of inodes and report 0.
            if inodes.f_files and 100.0 * inodes.f_favail / inodes.f_files < free:
                free, what = 100.0 * inodes.f_favail / inodes.f_files, "inodes"
        detail = f"{free:.1f} % of {what} and {usage.free} bytes are free on the file system of {Path(path)}"
        value = round(free, 2)
        if free < min_free_percent or usage.free < min_free_bytes:
            return Outcome("unhealthy", "threshold", detail, value, "percent")
        if free < warn_free_percent:
            return Outcome("degraded", "threshold", detail, value, "percent")
        return Outcome("healthy", None, detail, value, "percent")

    async def check() -> Outcome:
        return await worker.run(measure)  # a network file system that is away blocks statvfs

    return check
