"""The OpenAPI documents by themselves: valid, with examples that are, and with words for people."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, get_args

import pytest
from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, Field

from contract import shop
from quickstart.app import create_app as create_quickstart
from svc_infra.api.fastapi.db.nosql.mongo.add import setup_mongo
from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.problems import add_problem_details
from svc_infra.db.nosql.mongo.resource import MongoAction, MongoResource
from svc_infra.db.sql.resource import SqlResource


class Mood(enum.Enum):
    """How a note sounds."""

    GLAD = "glad"
    SAD = "sad"


class Note(BaseModel):
    """A note in MongoDB."""

    id: str = Field(description="Which note.", examples=["6543210fedcba9876543210f"])
    text: str = Field(min_length=1, max_length=200, description="What it says.", examples=["Buy milk"])
    tags: list[str] = Field(default_factory=list, description="What it is about.", examples=[["home"]])
    day: date | None = Field(None, description="When it is due.", examples=["2030-01-31"])
    mood: Mood | None = Field(None, description="How it sounds.", examples=["glad"])
    pages: Annotated[int, Field(ge=1, title="Number of pages")] = Field(1, description="How long it is.", examples=[2])
    owner: str = Field(description="Whose it is.", examples=["ann"])


async def owner(x_owner: Annotated[str, Header(description="Who asks.")]) -> str:
    """Return who asks."""
    return x_owner


def create_notes() -> FastAPI:
    """Return a service over a collection, with every action that those have."""
    app = FastAPI(title="Notes")
    resource = MongoResource(
        model=Note,
        prefix="/notes",
        actions=get_args(MongoAction),
        soft_delete=True,
        search_fields=["text"],
        tenant_field="owner",
    )
    setup_mongo(app, [resource], tenant=owner)
    return app


class Letter(BaseModel):
    """A letter."""

    text: str = Field(description="What it says.", examples=["Dear"])


def create_letters(*, has_problems: bool = True) -> FastAPI:
    """Return a service with routes of its own beside the generated ones."""
    app = FastAPI(title="Letters")
    setup_sql(app, [SqlResource(model=shop.Shelf, prefix="/shelves", id_attr=("row", "column"))], url="sqlite://")

    @app.post("/letters", tags=["letters"])
    async def send_letter(letter: Letter) -> Letter:
        """Send a letter."""
        return letter

    @app.put("/letters", tags=["letters"], responses={422: {"description": "Not a letter", "model": Letter}})
    async def replace_letter(letter: Letter) -> Letter:
        """Replace the letter."""
        return letter

    if has_problems:
        add_problem_details(app)
    return app


DOCUMENTS = {
    "letters": create_letters().openapi(),
    "quickstart": create_quickstart("sqlite://").openapi(),
    "shop": shop.create_app("sqlite://").openapi(),
    "notes": create_notes().openapi(),
}


def examples_in(value: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield every example with its schema, wherever it stands: in the schema, a parameter or a media type."""
    if isinstance(value, list):
        for inner in value:
            yield from examples_in(inner)
    if not isinstance(value, dict):
        return
    match value:
        case {"examples": list(examples)}:
            yield from ((value, example) for example in examples)
        case {"schema": dict(schema), "examples": dict(examples)}:
            yield from ((schema, example["value"]) for example in examples.values())
        case {"schema": dict(schema), "example": example}:
            yield schema, example
    for inner in value.values():
        yield from examples_in(inner)


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The documents of the quick start, of a service with every action and every type, and of one over MongoDB."""
    found: dict[str, Any] = DOCUMENTS[request.param]
    return found


def test_the_document_is_openapi_31(document: dict[str, Any]) -> None:
    """Structure, references, names of operations and parameters of paths are as the standard's own schema has them."""
    assert document["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    """Who sends what the page of the document shows is not refused for its form."""
    found = list(examples_in(document))
    for schema, example in found:
        complete = {**schema, "components": document["components"]}
        assert [error.message for error in OAS31Validator(complete).iter_errors(example)] == [], schema
    assert len(found) > 10


def test_a_record_that_was_created_leads_on() -> None:
    """By links to what can be done with it, whatever its key, each on the version that was created."""
    paths = DOCUMENTS["shop"]["paths"]
    links = paths["/shelves"]["post"]["responses"]["201"]["links"]
    assert {name: link["operationId"] for name, link in links.items()} == {
        name: f"shelves_{name}" for name in ("get", "update", "replace", "delete")
    }
    key = {"row": "$response.body#/row", "column": "$response.body#/column"}
    assert links["get"]["parameters"] == key
    assert links["update"]["parameters"] == {**key, "header.If-Match": "$response.header.ETag"}
    [undo] = paths["/things/{id}"]["delete"]["responses"]["204"]["links"].values()
    assert (undo["operationId"], undo["parameters"]) == ("things_restore", {"id": "$request.path.id"})
    assert "links" not in paths["/shelves/{row}/{column}"]["delete"]["responses"]["204"]


def test_the_example_of_a_problem_has_its_status(document: dict[str, Any]) -> None:
    """The page shows at each status what comes with it, and not always the same."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for status, answer in operation["responses"].items():
                shown = answer.get("content", {}).get("application/problem+json")
                assert shown is None or shown["example"]["status"] == int(status), f"{method} {path}"


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


def test_a_route_of_the_application_says_what_is_sent() -> None:
    """With problem details for all routes its 422 is one, unless the application says or does something else."""
    document = DOCUMENTS["letters"]
    responses = {method: each["responses"]["422"] for method, each in document["paths"]["/letters"].items()}
    generated = document["paths"]["/shelves"]["post"]["responses"]["422"]
    assert responses["post"] == generated
    assert responses["put"]["description"] == "Not a letter"
    assert "HTTPValidationError" not in str(document)

    plain = create_letters(has_problems=False).openapi()
    assert list(plain["paths"]["/letters"]["post"]["responses"]["422"]["content"]) == ["application/json"]
    assert {"HTTPValidationError", "ProblemDetails"} <= set(plain["components"]["schemas"])

    own = create_letters(has_problems=False)
    own.exception_handler(RequestValidationError)(refuse)
    add_problem_details(own)
    assert own.openapi() == plain


async def refuse(_request: Request, _error: Exception) -> Response:
    """Answer in the application's own way."""
    return Response(status_code=422)


def test_every_field_of_a_document_in_mongodb_is_explained() -> None:
    """The model's texts, titles and examples stand at each schema that is made of it, and at the id in the path."""
    document = DOCUMENTS["notes"]
    schemas = document["components"]["schemas"]
    for schema in ("NoteRead", "NoteReadSelection", "NoteCreate", "NoteReplace", "NoteUpdate"):
        for member, about in schemas[schema]["properties"].items():
            assert about.get("description"), f"{schema}.{member}"
            assert about.get("examples"), f"{schema}.{member}"
        assert schemas[schema]["description"]
    assert schemas["NoteUpdate"]["properties"]["pages"]["title"] == "Number of pages"
    [key] = [each for each in document["paths"]["/notes/{id}"]["get"]["parameters"] if each["in"] == "path"]
    assert key["examples"] == {"6543210fedcba9876543210f": {"value": "6543210fedcba9876543210f"}}
    listed = {each["name"]: each for each in document["paths"]["/notes"]["get"]["parameters"]}
    assert listed["mood"]["description"].startswith("How it sounds. Equal to this value.")
    assert "glad" in str(listed["mood"]["schema"])
