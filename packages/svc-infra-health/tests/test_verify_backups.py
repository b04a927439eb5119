"""verify_backups on files that this test can make itself; dumps of servers are in the integration tests."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import sqlite3
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from svc_infra.data.lifecycle import verify_backups
from svc_infra.health import HealthRegistry, check_backups

PLAIN = b"--\n-- PostgreSQL database dump\n--\nCREATE TABLE t (x int);\n" + b"INSERT INTO t VALUES (1);\n" * 2000
END = b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"


def age(path: Path, hours: float) -> None:
    """Set the file's time of change."""
    then = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
    os.utime(path, (then, then))


def sqlite_file(path: Path, rows: int = 500) -> Path:
    database = sqlite3.connect(path)
    with database:
        database.execute("CREATE TABLE t (x TEXT)")
        database.executemany("INSERT INTO t VALUES (?)", [(str(number) * 20,) for number in range(rows)])
    database.close()
    return path


def bson(**fields: int) -> bytes:
    body = (
        b"".join(b"\x10" + name.encode() + b"\0" + struct.pack("<i", value) for name, value in fields.items()) + b"\0"
    )
    return struct.pack("<i", len(body) + 4) + body


async def test_the_guide_example_works_on_a_good_backup(tmp_path: Path) -> None:
    """A dump of today, whole, is healthy."""
    (tmp_path / "app.sql").write_bytes(PLAIN + END)
    report = await verify_backups(expected_max_age_hours=24, backup_path=str(tmp_path))
    assert report.healthy, str(report)
    assert report.newest is not None
    assert (report.newest.kind, report.newest.contents) == ("postgresql-plain", "complete")
    assert "healthy" in str(report)


async def test_a_path_that_does_not_exist_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    """The report is for an alert; a missing mount must reach it."""
    report = await verify_backups(24, tmp_path / "nowhere")
    assert [problem.kind for problem in report.problems] == ["missing"]


async def test_an_empty_folder_is_a_problem(tmp_path: Path) -> None:
    """No backup at all is the worst state."""
    report = await verify_backups(24, tmp_path)
    assert [problem.kind for problem in report.problems] == ["missing"]
    assert report.age_hours is None


async def test_an_old_backup_is_a_problem(tmp_path: Path) -> None:
    """The newest one counts, however many there are."""
    for hours in (30, 50, 70):
        path = tmp_path / f"app-{hours}.sql"
        path.write_bytes(PLAIN + END)
        age(path, hours)
    report = await verify_backups(24, tmp_path)
    assert [problem.kind for problem in report.problems] == ["age"]
    assert report.count == 3
    assert report.newest is not None
    assert report.newest.path.name == "app-30.sql"
    assert "30.0 h old" in report.summary()
    assert (await verify_backups(31, tmp_path)).healthy


async def test_a_backup_from_the_future_is_a_problem(tmp_path: Path) -> None:
    """With a wrong clock nobody knows how old it is."""
    path = tmp_path / "app.sql"
    path.write_bytes(PLAIN + END)
    age(path, -5)
    assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["future"]


async def test_an_empty_file_is_a_problem(tmp_path: Path) -> None:
    """What `pg_dump > file` leaves when it can't connect."""
    (tmp_path / "app.sql").touch()
    assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["size"]


async def test_a_backup_that_shrank_is_a_problem_when_asked_for(tmp_path: Path) -> None:
    """A dump of an emptied database is whole, and useless."""
    for name, content, hours in (("monday.sql", PLAIN + END, 25), ("tuesday.sql", PLAIN[:100] + END, 1)):
        (tmp_path / name).write_bytes(content)
        age(tmp_path / name, hours)
    assert (await verify_backups(24, tmp_path)).healthy
    report = await verify_backups(24, tmp_path, max_shrink_percent=50)
    assert [problem.kind for problem in report.problems] == ["size"]


async def test_only_matching_names_count(tmp_path: Path) -> None:
    """A fresh backup of one database says nothing about another."""
    for name, hours in (("users.sql", 1), ("orders.sql", 40)):
        (tmp_path / name).write_bytes(PLAIN + END)
        age(tmp_path / name, hours)
    assert (await verify_backups(24, tmp_path)).healthy
    assert not (await verify_backups(24, tmp_path, pattern="orders*")).healthy


async def test_subfolders_are_searched_and_links_followed(tmp_path: Path) -> None:
    """/backups/2026-11-22/app.sql with a link "latest"; a link that leads nowhere is no backup."""
    folder = tmp_path / "2026-11-22"
    folder.mkdir()
    (folder / "app.sql").write_bytes(PLAIN + END)
    (tmp_path / "latest").symlink_to(folder / "app.sql")
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    report = await verify_backups(24, tmp_path)
    assert (report.healthy, report.count) == (True, 1)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{digest}  app.sql\n", None),
        ("{digest} *app.sql\n", None),
        ("{digest}\n", None),
        ("SHA256 (app.sql) = {digest}\n", None),
        ("{other}  app.sql\n", "checksum"),
        ("{digest}  other.sql\n", "checksum"),
        ("\n", "checksum"),
    ],
)
async def test_a_checksum_beside_the_backup_is_compared(tmp_path: Path, text: str, kind: str | None) -> None:
    """In the forms of sha256sum, of BSD, and bare."""
    (tmp_path / "app.sql").write_bytes(PLAIN + END)
    digest = hashlib.sha256(PLAIN + END).hexdigest()
    (tmp_path / "app.sql.sha256").write_text(text.format(digest=digest, other="0" * 64))
    report = await verify_backups(24, tmp_path)
    assert [problem.kind for problem in report.problems] == ([kind] if kind else [])
    assert report.newest is not None
    assert report.newest.checksum == ("matched" if kind is None else "not-checked")


async def test_a_required_checksum_that_is_absent_is_a_problem(tmp_path: Path) -> None:
    """A sums file of the folder counts as well."""
    (tmp_path / "app.sql").write_bytes(PLAIN + END)
    report = await verify_backups(24, tmp_path, checksum="required")
    assert [problem.kind for problem in report.problems] == ["checksum"]
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(PLAIN + END).hexdigest()}  app.sql\n")
    assert (await verify_backups(24, tmp_path, checksum="required")).healthy


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout,
    ".lz4": lambda data: subprocess.run(["lz4", "-c"], input=data, capture_output=True, check=True).stdout,
}


@pytest.mark.parametrize("ending", COMPRESSORS)
@pytest.mark.parametrize(
    ("first", "last"),
    [
        (b"--\n-- PostgreSQL database dump\n--\n", END),
        (b"--\n-- PostgreSQL database cluster dump\n--\n", b"--\n-- PostgreSQL database cluster dump complete\n--\n\n"),
        (b"-- MySQL dump 10.13\n", b"-- Dump completed on 2026-11-22  1:02:03\n"),
        (b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n", b"-- Dump completed on 2026-11-22\n"),
        (b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", b"COMMIT;\n"),
    ],
    ids=["pg_dump", "pg_dumpall", "mysqldump", "mariadb-dump", "sqlite .dump"],
)
async def test_a_plain_dump_is_whole_only_with_its_last_line(
    tmp_path: Path, ending: str, first: bytes, last: bytes
) -> None:
    """The dump that broke off, and the compressed file that broke off, are both found."""
    program = {".zst": "zstd", ".lz4": "lz4"}.get(ending)
    if program and not shutil.which(program):
        pytest.skip(f"the program {program} is not installed")
    body = os.urandom(100_000).hex().encode()
    path = tmp_path / f"app.sql{ending}"
    whole = COMPRESSORS[ending](first + body + b"\n" + last)
    path.write_bytes(whole)
    report = await verify_backups(24, tmp_path)
    assert report.healthy, str(report)
    path.write_bytes(COMPRESSORS[ending](first + body))
    assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["truncated"]
    path.write_bytes(whole[: len(whole) // 2])
    assert {problem.kind for problem in (await verify_backups(24, tmp_path)).problems} <= {"truncated", "corrupt"}
    assert not (await verify_backups(24, tmp_path)).healthy


async def test_a_flipped_bit_in_a_compressed_dump_is_found(tmp_path: Path) -> None:
    """Gzip's checksum is read, which only reading to the end does."""
    data = bytearray(gzip.compress(PLAIN + os.urandom(50_000).hex().encode() + END))
    data[len(data) // 2] ^= 1
    (tmp_path / "app.sql.gz").write_bytes(data)
    assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["corrupt"]


@pytest.mark.parametrize("ending", ["", ".gz"])
async def test_a_sqlite_backup_is_checked_by_sqlite(tmp_path: Path, ending: str) -> None:
    """A page that was overwritten is found, and the backup is not written to."""
    source = sqlite_file(tmp_path.parent / f"{tmp_path.name}.db")
    data = source.read_bytes()
    path = tmp_path / f"app.db{ending}"
    path.write_bytes(COMPRESSORS[ending](data))
    report = await verify_backups(24, tmp_path)
    assert report.healthy, str(report)
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208
    broken = bytearray(data)
    broken[8192:12288] = os.urandom(4096)
    path.write_bytes(COMPRESSORS[ending](bytes(broken)))
    assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["corrupt"]


async def test_a_mongodump_archive_is_walked_to_its_end(tmp_path: Path) -> None:
    """Documents in groups, each group with an end mark."""
    end = b"\xff\xff\xff\xff"
    archive = b"\x6d\xe2\x99\x81" + bson(version=1) + end + bson(ns=1) + bson(x=1) * 100 + end
    path = tmp_path / "app.archive"
    path.write_bytes(archive)
    report = await verify_backups(24, tmp_path)
    assert report.healthy, str(report)
    for broken in (archive[:-4], archive[:-7]):
        path.write_bytes(broken)
        assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["truncated"]


async def test_a_mongodump_folder_is_one_backup(tmp_path: Path) -> None:
    """Every collection's file is walked."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "orders.bson").write_bytes(bson(x=1) * 10)
    (folder / "users.bson.gz").write_bytes(gzip.compress(bson(x=1) * 10))
    report = await verify_backups(24, tmp_path)
    assert (report.healthy, report.count) == (True, 1), str(report)
    (folder / "orders.bson").write_bytes((bson(x=1) * 10)[:-3])
    report = await verify_backups(24, tmp_path)
    assert [problem.kind for problem in report.problems] == ["truncated"]
    assert "orders.bson" in report.summary()


@pytest.mark.parametrize("ending", ["", ".gz"])
async def test_a_tar_archive_is_read_to_its_end_mark(tmp_path: Path, ending: str) -> None:
    """One that was cut between two members looks whole to most tools."""
    plain = tmp_path.parent / f"{tmp_path.name}.tar"
    member = tmp_path.parent / "member"
    member.write_bytes(os.urandom(2048))
    with tarfile.open(plain, "w") as tar:
        for number in range(3):
            tar.add(member, f"member{number}")
    data = plain.read_bytes()
    path = tmp_path / f"files.tar{ending}"
    path.write_bytes(COMPRESSORS[ending](data))
    report = await verify_backups(24, tmp_path)
    assert report.healthy, str(report)
    for cut in (2 * 2560, 2 * 2560 + 700):
        path.write_bytes(COMPRESSORS[ending](data[:cut]))
        assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["truncated"]


async def test_a_zip_archive_is_tested(tmp_path: Path) -> None:
    """Each member's checksum is compared."""
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", os.urandom(5000))
    assert (await verify_backups(24, tmp_path)).healthy
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["corrupt"]


async def test_what_is_not_recognised_is_a_problem_unless_contents_are_not_asked_for(tmp_path: Path) -> None:
    """An HTML error page saved as a backup is none; an encrypted one can only be dated."""
    (tmp_path / "app.dump").write_bytes(b"<html>503</html>")
    report = await verify_backups(24, tmp_path)
    assert [problem.kind for problem in report.problems] == ["unknown-format"]
    assert "contents=False" in report.summary()
    assert (await verify_backups(24, tmp_path, contents=False)).healthy


async def test_reading_stops_when_the_time_is_up(tmp_path: Path) -> None:
    """A terabyte on a slow disk must not hold up the job for ever."""
    (tmp_path / "app.sql").write_bytes(PLAIN * 20 + END)
    ticks = iter(range(10_000))
    report = await verify_backups(24, tmp_path, timeout_seconds=3, clock=lambda: float(next(ticks)))
    assert [problem.kind for problem in report.problems] == ["timeout"]


async def test_a_file_that_may_not_be_read_is_a_problem(tmp_path: Path) -> None:
    """Wrong owner, wrong mount."""
    path = tmp_path / "app.sql"
    path.write_bytes(PLAIN + END)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert [problem.kind for problem in (await verify_backups(24, tmp_path)).problems] == ["unreadable"]


async def test_the_report_is_json(tmp_path: Path) -> None:
    """For a webhook."""
    import json

    (tmp_path / "app.sql").write_bytes(PLAIN)
    report = json.loads(json.dumps((await verify_backups(24, tmp_path)).to_dict()))
    assert report["healthy"] is False
    assert report["problems"][0]["kind"] == "truncated"


async def test_backups_can_be_a_health_check(tmp_path: Path) -> None:
    """With the age as a measured value."""
    registry = HealthRegistry()
    registry.add("backups", check_backups(tmp_path), critical=False)
    assert (await registry.run(fresh=True)).checks["backups"].reason == "missing"
    (tmp_path / "app.sql").write_bytes(PLAIN + END)
    age(tmp_path / "app.sql", 2)
    result = (await registry.run(fresh=True)).checks["backups"]
    assert (result.status, result.unit) == ("healthy", "hours")
    assert result.value == pytest.approx(2, abs=0.1)
