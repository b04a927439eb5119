"""The vectors of the contract: each row's environment gives the URL and arguments, or the error, that it names."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from svc_infra.dburl import DatabaseUrlError, resolve_database_url
from svc_infra.dburl.mongo import resolve_mongo_url
from svc_infra.dburl.tls import TlsContext

DATA = Path(__file__).parent / "data"
URL_VECTORS = json.loads((DATA / "url_vectors.json").read_text(encoding="utf-8"))
MONGO_VECTORS = json.loads((DATA / "mongo_vectors.json").read_text(encoding="utf-8"))


def everything(module: str) -> bool:
    """The vectors expect the preferred driver, so every driver counts as installed."""
    return True


def place_files(vector: dict[str, Any], folder: Path, certificates: Path) -> dict[str, str]:
    """Write the vector's files below the folder, and return its environment with their paths changed to it."""
    for path, content in vector["files"].items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    environ = dict(vector["env"])
    for name, value in environ.items():
        path = f"{folder}{value}" if name.endswith("_FILE") else value
        environ[name] = path.replace("/etc/ca.pem", f"{certificates}/ca.pem").replace("=/c/", f"={certificates}/")
    return environ


def expected_arguments(vector: dict[str, Any], certificates: Path) -> dict[str, object]:
    """The expected connect arguments, with TLS contexts and the paths of the real certificates."""
    found: dict[str, object] = {}
    for name, value in vector["expect_connect_args"].items():
        if isinstance(value, dict) and "$ssl_context" in value:
            wanted = value["$ssl_context"]
            files = {
                key: None if wanted[key] is None else f"{certificates}/{Path(wanted[key]).name}"
                for key in ("cafile", "certfile", "keyfile")
            }
            found[name] = TlsContext(wanted["verify"], **files)
        else:
            found[name] = value
    return found


@pytest.mark.parametrize("vector", URL_VECTORS, ids=[vector["name"] for vector in URL_VECTORS])
def test_resolves_as_the_vector_says(
    vector: dict[str, Any], tmp_path: Path, certificates: Path, expected_url: Callable[[str], URL]
) -> None:
    """Each row of the contract: its URL as SQLAlchemy parses it and its connect arguments, or its error."""
    environ = place_files(vector, tmp_path, certificates)

    def resolve() -> Any:
        secrets_dir = tmp_path / "run/secrets"
        return resolve_database_url(
            environ, env_file=None, secrets_dir=secrets_dir, mode=vector["mode"], installed=everything
        )

    if vector["expect_url"] is None:
        with pytest.raises(DatabaseUrlError) as caught:
            resolve()
        assert vector["expect_error"] in str(caught.value)
    else:
        resolved = resolve()
        assert resolved.url == expected_url(vector["expect_url"])
        assert resolved.connect_args == expected_arguments(vector, certificates)


MODES = {"none": (ssl.CERT_NONE, False), "ca": (ssl.CERT_REQUIRED, False), "full": (ssl.CERT_REQUIRED, True)}


@pytest.mark.parametrize(
    "vector",
    [vector for vector in URL_VECTORS if "$ssl_context" in json.dumps(vector)],
    ids=lambda vector: vector["name"],
)
def test_contexts_of_the_vectors_check_what_they_say(
    vector: dict[str, Any], tmp_path: Path, certificates: Path
) -> None:
    """A context has the verify mode and host name check of its row, and has loaded its files."""
    environ = place_files(vector, tmp_path, certificates)
    resolved = resolve_database_url(environ, env_file=None, secrets_dir=None, mode=vector["mode"], installed=everything)
    context = resolved.connect_args["ssl"]
    wanted = vector["expect_connect_args"]["ssl"]["$ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == MODES[wanted["verify"]]
    if wanted["cafile"] is not None:
        assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("vector", MONGO_VECTORS, ids=[vector["name"] for vector in MONGO_VECTORS])
def test_resolves_mongo_as_the_vector_says(vector: dict[str, Any], tmp_path: Path, certificates: Path) -> None:
    """Each row of the contract for MongoDB: URL, client options and database, or its error."""
    environ = place_files(vector, tmp_path, certificates)
    if "expect_error" in vector:
        with pytest.raises(DatabaseUrlError, match=vector["expect_error"]):
            resolve_mongo_url(environ, env_file=None, secrets_dir=tmp_path)
    else:
        found = resolve_mongo_url(environ, env_file=None, secrets_dir=tmp_path)
        assert (found.url, found.client_kwargs, found.db_name) == (
            vector["expect_url"],
            vector["expect_client_kwargs"],
            vector["expect_db"],
        )
