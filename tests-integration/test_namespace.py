"""The rules of the shared namespace, held on the source tree and on the built wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
LIBRARIES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
BARE = {
    PurePosixPath(folder)
    for folder in (
        "svc_infra",
        "svc_infra/api",
        "svc_infra/data",
        "svc_infra/db",
        "svc_infra/db/nosql",
        "svc_infra/db/sql",
    )
}

Wheels = dict[str, frozenset[PurePosixPath]]


def sources(library: Path) -> set[PurePosixPath]:
    """Return every source file of a library, relative to its `src`."""
    src = library / "src"
    return {
        PurePosixPath(path.relative_to(src).as_posix())
        for path in src.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """Every wheel of the workspace, built now, as distribution -> the files that it installs."""
    folder = tmp_path_factory.mktemp("wheels")
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "uv is not on the PATH and UV is not set"
    subprocess.run(
        [uv, "build", "--quiet", "--all-packages", "--wheel", "--out-dir", folder],
        cwd=ROOT,
        check=True,
        timeout=100,
    )
    built: Wheels = {}
    for wheel in folder.glob("*.whl"):
        with ZipFile(wheel) as archive:
            names = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
        built[wheel.name.partition("-")[0].replace("_", "-")] = frozenset(
            name for name in names if not name.parts[0].endswith(".dist-info")
        )
    return built


def test_the_workspace_builds_six_libraries_and_a_meta_wheel_without_code(wheels: Wheels) -> None:
    """`uv build --all-packages` gives the six libraries and `svc-infra`, which installs no file of its own."""
    assert set(wheels) == {library.name for library in LIBRARIES} | {"svc-infra"}
    assert len(LIBRARIES) == 6
    assert wheels["svc-infra"] == frozenset()


def test_no_file_is_in_two_wheels(wheels: Wheels) -> None:
    """Two wheels that install the same path would overwrite each other, and uninstalling one would break the other."""
    count = Counter(path for files in wheels.values() for path in files)
    assert [path for path, times in count.items() if times > 1] == []


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_source_file_is_in_its_wheel(library: Path, wheels: Wheels) -> None:
    """What stands in `src` is what the user gets: no module, template or marker is lost by the build."""
    assert wheels[library.name] == sources(library)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_a_bare_folder_has_no_init(library: Path) -> None:
    """An `__init__.py` in a shared folder would hide the modules of every other distribution."""
    assert {path for path in sources(library) if path.name == "__init__.py" and path.parent in BARE} == set()


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_a_folder_below_the_bare_ones_is_a_regular_package(library: Path) -> None:
    """A forgotten `__init__.py` would open a folder to every other distribution."""
    files = sources(library)
    folders = {path.parent for path in files if path.suffix == ".py"} - BARE
    assert {folder for folder in folders if folder / "__init__.py" not in files} == set()


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_module_is_under_a_py_typed_of_its_own_wheel(library: Path, wheels: Wheels) -> None:
    """Type checkers trust a module's annotations only where its distribution says so (PEP 561)."""
    files = wheels[library.name]
    modules = {path for path in files if path.suffix == ".py"}
    assert modules
    assert {path for path in modules if not any(parent / "py.typed" in files for parent in path.parents)} == set()


def test_a_bare_folder_belongs_to_one_distribution_at_most(wheels: Wheels) -> None:
    """Of the bare folders only `svc_infra/db/sql` holds modules, and only svc-infra-sql puts them there."""
    owners = {
        (path.parent, distribution) for distribution, files in wheels.items() for path in files if path.parent in BARE
    }
    assert owners == {(PurePosixPath("svc_infra/db/sql"), "svc-infra-sql")}


def test_a_stray_init_in_a_bare_folder_is_found(tmp_path: Path) -> None:
    """The check above looks where it claims to: an added `svc_infra/db/__init__.py` shows up."""
    shutil.copytree(LIBRARIES[0], tmp_path / "library", ignore=shutil.ignore_patterns("__pycache__"))
    stray = tmp_path / "library" / "src" / "svc_infra" / "__init__.py"
    stray.touch()
    with pytest.raises(AssertionError):
        test_a_bare_folder_has_no_init(tmp_path / "library")
