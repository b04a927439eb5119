"""MongoSettings: arguments over the URL over the environment, and no secret in any text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from svc_infra.db.nosql.mongo.errors import MongoSettingsError
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.dburl import DatabaseUrlError

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("mongo_vectors.json").read_text())


def settings(environ: dict[str, str] | None = None, **arguments: Any) -> MongoSettings:
    """Settings from this environment alone."""
    return MongoSettings(environ=environ or {}, env_file=None, secrets_dir="/nonexistent", **arguments)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_documented_environments_give_the_documented_clients(vector: dict[str, Any]) -> None:
    """The contract that svc-infra-dburl keeps is kept here, too."""
    if "expect_error" in vector:
        with pytest.raises(DatabaseUrlError, match=vector["expect_error"]):
            settings(vector["env"])
        return
    made = settings(vector["env"])
    assert made.url == vector["expect_url"]
    assert made.client_kwargs == vector["expect_client_kwargs"]
    assert made.db_name == vector["expect_db"]


def test_an_argument_wins_over_the_url_and_the_environment() -> None:
    """What is written in code is the most specific."""
    environ = {"MONGO_URL": "mongodb://env", "MONGO_DB": "env", "MONGO_MAX_POOL": "7", "MONGO_APPNAME": "env"}
    made = settings(environ, url="mongodb://code/?maxPoolSize=5", db_name="code", max_pool_size=50, appname="code")
    assert (made.url, made.db_name) == ("mongodb://code/?maxPoolSize=5", "code")
    assert (made.max_pool_size, made.min_pool_size, made.appname) == (50, 0, "code")


def test_an_explicit_url_is_combined_with_the_other_variables() -> None:
    """MONGO_MAX_POOL counts for a URL from code as well."""
    assert settings({"MONGO_MAX_POOL": "7"}, url="mongodb://h/app").max_pool_size == 7


def test_a_url_file_is_read(tmp_path: Path) -> None:
    """MONGO_URL_FILE is how Docker secrets reach the service."""
    file = tmp_path / "url"
    file.write_text("mongodb://u:p@h/app\n")
    assert settings({"MONGO_URL_FILE": str(file)}).url == "mongodb://u:p@h/app"


def test_a_dotenv_file_is_read_and_outranked_by_the_environment(tmp_path: Path) -> None:
    """All variables follow one rule, MONGO_DRIVER included."""
    file = tmp_path / ".env"
    file.write_text("MONGO_URL=mongodb://file/app\nMONGO_DRIVER=pymongo\n")
    assert MongoSettings(environ={}, env_file=file).driver == "pymongo"
    made = MongoSettings(environ={"MONGO_DRIVER": "motor"}, env_file=file)
    assert (made.driver, made.url) == ("motor", "mongodb://file/app")


@pytest.mark.parametrize("text", [repr, str, lambda made: repr(vars), lambda made: f"{made}"])
def test_no_text_shows_the_password(text: Any) -> None:
    """Settings end up in logs and tracebacks."""
    assert "s3cret" not in text(settings(url="mongodb://app:s3cret@h/app?authSource=admin"))
    assert "s3cret" not in settings(url="mongodb://app:s3cret@h/app").redacted_url


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"driver": "mongoengine"}, "motor or pymongo"),
        ({"max_pool_size": 0}, "at least 1"),
        ({"min_pool_size": -1}, "can't be negative"),
        ({"min_pool_size": 11, "max_pool_size": 10}, "more than the maximum"),
        ({"appname": "x" * 129}, "128"),
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    """A wrong number fails at start, not at the first full pool."""
    with pytest.raises(MongoSettingsError, match=message):
        settings(url="mongodb://h/app", **arguments)


@pytest.mark.parametrize("url", ["postgresql://h/app", "h:27017", "", "mongodb://u:p@ss@h/app", "mongodb://h:port/app"])
def test_a_malformed_url_is_refused_without_repeating_it(url: str) -> None:
    """The error names the place and the remedy."""
    with pytest.raises(DatabaseUrlError, match="MONGO_URL") as caught:
        settings({"MONGO_URL": url} if url else {"MONGO_URL_FILE": "/nonexistent"}, db_name="app")
    assert "p@ss" not in str(caught.value)


def test_equal_settings_are_equal_and_immutable() -> None:
    """`init_mongo` tells by this whether it was called with other settings."""
    one, same, other = (settings(url="mongodb://h/app", max_pool_size=size) for size in (1, 1, 2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    with pytest.raises(AttributeError, match="immutable"):
        one.db_name = "other"  # type: ignore[misc]
