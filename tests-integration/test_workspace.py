"""The workspace: what each library carries, how it pins its siblings, and who may import whom."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks.weight import POSTGRES_DISTRIBUTIONS_LIMIT, distributions

ROOT = Path(__file__).parent.parent
LIBRARIES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))

each_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)


def project(folder: Path) -> dict[str, Any]:
    """Return the `[project]` table of the pyproject.toml in *folder*."""
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def sibling_requirements(table: dict[str, Any]) -> list[Requirement]:
    """Return every requirement of a project, extras included, that names another distribution of the workspace."""
    lines = list(table["dependencies"])
    for extra in table.get("optional-dependencies", {}).values():
        lines += extra
    names = {library.name for library in LIBRARIES}
    return [requirement for line in lines if (requirement := Requirement(line)).name in names]


@each_library
@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE", "tests"])
def test_a_library_carries_what_it_needs_to_stand_alone(library: Path, name: str) -> None:
    """Each library is published alone, with its own read-me, change log, licence and tests."""
    assert (library / name).exists()


@each_library
def test_a_library_has_the_licence_of_the_workspace(library: Path) -> None:
    """All seven distributions are MIT and ship the text."""
    assert project(library)["license"] == "MIT"
    assert (library / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@each_library
def test_the_change_log_names_the_version(library: Path) -> None:
    """A user of the version finds what changed in it."""
    assert project(library)["version"] in (library / "CHANGELOG.md").read_text()


def test_the_meta_package_pins_the_versions_that_stand_here() -> None:
    """`pip install svc-infra` installs the six libraries at exactly the versions that passed together."""
    pins = sibling_requirements(project(ROOT))
    versions = {library.name: project(library)["version"] for library in LIBRARIES}
    assert {pin.name for pin in pins} == set(versions)
    assert [str(pin) for pin in pins if str(pin.specifier) != f"=={versions[pin.name]}"] == []


@each_library
def test_a_library_gives_its_siblings_a_range(library: Path) -> None:
    """An exact pin between libraries would force every user to upgrade all of them at once."""
    for requirement in sibling_requirements(project(library)):
        version = project(ROOT / "packages" / requirement.name)["version"]
        assert [specifier.operator for specifier in requirement.specifier] == ["~="], str(requirement)
        assert requirement.specifier.contains(Version(version)), f"{requirement} excludes {version}"


BAD_IMPORTS = [
    ("dburl-first", "svc_infra/dburl", "svc_infra.db.sql.errors"),
    ("dburl-first", "svc_infra/dburl", "svc_infra.api.fastapi"),
    ("siblings", "svc_infra/db/sql", "svc_infra.health"),
    ("siblings", "svc_infra/db/sql", "svc_infra.db.nosql.mongo"),
    ("siblings", "svc_infra/db/nosql/mongo", "svc_infra.db.sql.errors"),
    ("siblings", "svc_infra/health", "svc_infra.db.sql.errors"),
    ("backup-siblings", "svc_infra/data/lifecycle", "svc_infra.db.sql.errors"),
    ("migrate-last", "svc_infra/db/sql", "svc_infra.db.sql.core"),
    ("migrate-last", "svc_infra/api/fastapi", "svc_infra.migrate"),
    ("fastapi-last", "svc_infra/health", "svc_infra.api.fastapi"),
    ("migrate-imports", "svc_infra/migrate", "svc_infra.health"),
    ("siblings", "svc_infra/db/sql/core", "svc_infra.health"),
    ("web", "svc_infra/db/sql", "fastapi"),
    ("web", "svc_infra/health", "starlette.responses"),
    ("alembic", "svc_infra/db/sql", "alembic.command"),
    ("alembic", "svc_infra/api/fastapi", "alembic"),
]


LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the workspace's import contracts on *tree* alone.

    Without `site` no .pth file is read, so that the editable installs of the real libraries don't shine through.
    """
    paths = [str(tree), sysconfig.get_path("purelib")]
    return subprocess.run(
        [sys.executable, "-S", "-c", LINT_IMPORTS, "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def copy_sources(tree: Path) -> Path:
    """Put the source of all libraries into the folder *tree*, where it may be spoiled, and return it."""
    for library in LIBRARIES:
        shutil.copytree(
            library / "src", tree, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    return tree


def contracts() -> dict[str, str]:
    """Return the name of each import contract by its identifier."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return {contract["id"]: contract["name"] for contract in table}


def bad_module(contract: str, folder: str) -> str:
    """Return the dotted name of the module that breaks *contract* in *folder*."""
    return f"{folder.replace('/', '.')}.bad_{contract.replace('-', '_')}"


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], str]:
    """What import-linter says of each bad import; one run takes one bad import for each contract."""
    found: dict[tuple[str, str, str], str] = {}
    waiting = list(BAD_IMPORTS)
    while waiting:
        chosen = {contract: (contract, folder, imported) for contract, folder, imported in waiting}
        tree = copy_sources(tmp_path_factory.mktemp("tree"))
        for contract, folder, imported in chosen.values():
            file = tree / bad_module(contract, folder).replace(".", "/")
            file.with_suffix(".py").write_text(f"import {imported}\n")
        report = lint_imports(tree)
        assert report.returncode == 1, report.stdout + report.stderr
        found |= dict.fromkeys(chosen.values(), report.stdout)
        waiting = [case for case in waiting if case not in found]
    return found


def test_the_libraries_keep_every_import_contract(tmp_path: Path) -> None:
    """The import directions of the workspace hold."""
    result = lint_imports(copy_sources(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" KEPT") == len(contracts())


@pytest.mark.parametrize(("contract", "folder", "imported"), BAD_IMPORTS)
def test_a_bad_import_breaks_its_contract(
    reports: dict[tuple[str, str, str], str], contract: str, folder: str, imported: str
) -> None:
    """Each contract really fails on the import that it forbids, and not because nothing was looked at."""
    report = reports[contract, folder, imported]
    summary, _, details = report.partition("Broken contracts")
    assert f"{contracts()[contract]} BROKEN" in summary, report
    assert f"{bad_module(contract, folder)} -> " in details, report


def test_every_contract_is_seen_failing() -> None:
    """No contract stands in pyproject.toml without a bad import that proves it."""
    assert set(contracts()) == {contract for contract, _, _ in BAD_IMPORTS}


def test_no_library_reaches_into_a_private_module_of_another() -> None:
    """A module with a leading underscore may change in any release of its library, so only that library imports it."""
    roots = {
        "svc_infra.dburl": "svc-infra-dburl",
        "svc_infra.db.sql.core": "svc-infra-migrate",
        "svc_infra.db.sql": "svc-infra-sql",
        "svc_infra.db.nosql.mongo": "svc-infra-mongo",
        "svc_infra.migrate": "svc-infra-migrate",
        "svc_infra.health": "svc-infra-health",
        "svc_infra.data.lifecycle": "svc-infra-health",
        "svc_infra.api.fastapi": "svc-infra-fastapi",
    }

    def owner(module: str) -> str:
        return next(roots[root] for root in roots if f"{module}.".startswith(f"{root}."))

    graph = grimp.build_graph(*(root for root in roots if root != "svc_infra.db.sql.core"), cache_dir=None)
    private = [module for module in graph.modules if any(part.startswith("_") for part in module.split("."))]
    assert [
        f"{importer} imports {module}"
        for module in private
        for importer in graph.find_modules_that_directly_import(module)
        if owner(importer) != owner(module)
    ] == []


def test_installing_sql_for_postgresql_pulls_few_distributions() -> None:
    """Each distribution that a service installs is one to update and to trust."""
    pulled = distributions("svc-infra-sql", frozenset({"postgres"}))
    assert len(pulled) <= POSTGRES_DISTRIBUTIONS_LIMIT, sorted(pulled)
