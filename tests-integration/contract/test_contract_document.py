"""The OpenAPI documents by themselves: valid, with examples that are, and with words for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from contract import shop
from quickstart.app import create_app as create_quickstart

DOCUMENTS = {
    "quickstart": create_quickstart("sqlite://").openapi(),
    "shop": shop.create_app("sqlite://").openapi(),
}


def schemas_with_examples(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema with examples, wherever it stands."""
    if isinstance(value, dict):
        if isinstance(value.get("examples"), list):
            yield value
        for inner in value.values():
            yield from schemas_with_examples(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas_with_examples(inner)


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The documents of the quick start and of a service with every action and every type."""
    found: dict[str, Any] = DOCUMENTS[request.param]
    return found


def test_the_document_is_openapi_31(document: dict[str, Any]) -> None:
    """Structure, references, names of operations and parameters of paths are as the standard's own schema has them."""
    assert document["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    """Who sends what the page of the document shows is not refused for its form."""
    checked = 0
    for schema in schemas_with_examples(document):
        complete = {**schema, "components": document["components"]}
        for example in schema["examples"]:
            assert [error.message for error in OAS31Validator(complete).iter_errors(example)] == []
            checked += 1
    assert checked > 0


def test_every_operation_has_words_for_people(document: dict[str, Any]) -> None:
    """A title, a text and a tag, and each of its parameters and answers is explained."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            place = f"{method} {path}"
            assert all(operation[word] for word in ("summary", "description", "tags")), place
            silent = [each["name"] for each in operation.get("parameters", ()) if not each.get("description")]
            assert silent == [], place
            assert all(answer["description"] for answer in operation["responses"].values()), place


def test_every_column_of_the_quick_start_is_explained() -> None:
    """Each field of a record has a text and an example, also as a condition and in a path."""
    document = DOCUMENTS["quickstart"]
    for name in ("Airline", "Airport", "Plane", "Weather", "Flight"):
        for schema in (f"{name}Read", f"{name}Create", f"{name}Update"):
            for member, about in document["components"]["schemas"][schema]["properties"].items():
                assert about.get("description"), f"{schema}.{member}"
                assert about.get("examples"), f"{schema}.{member}"
    listed = {each["name"]: each["description"] for each in document["paths"]["/weather"]["get"]["parameters"]}
    assert listed["dewp"].startswith("Dew point in degrees Fahrenheit. Equal to this value.")
    (key,) = [each for each in document["paths"]["/planes/{tailnum}"]["get"]["parameters"] if each["in"] == "path"]
    assert key["description"] == "Tail number."
