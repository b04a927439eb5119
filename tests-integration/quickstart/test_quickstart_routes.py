"""What the quick start answers, asked by a real client on SQLite and PostgreSQL."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from console import Asked, asked_in
from quickstart.running import ANNOUNCEMENT
from quickstart_process import PROJECT

TOTALS = {"airlines": 3, "airports": 5, "planes": 4, "weather": 60, "flights": 60}


def items(client: httpx.Client, path: str, **query: str | int) -> list[dict[str, Any]]:
    """Return the items of a page, which must be there."""
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def test_every_table_is_listed_with_its_total(client: httpx.Client) -> None:
    """The five tables are served, and no row of the files is lost."""
    for path, total in TOTALS.items():
        page = client.get(f"/{path}", params={"limit": 2}).json()
        assert {
            "total": page["total"],
            "limit": page["limit"],
            "offset": page["offset"],
            "items": len(page["items"]),
        } == {
            "total": total,
            "limit": 2,
            "offset": 0,
            "items": 2,
        }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/airlines/UA", {"carrier": "UA", "name": "United Air Lines Inc."}),
        ("/airports/JFK", {"faa": "JFK", "lat": 40.639751, "alt": 13, "tzone": "America/New_York"}),
        ("/airports/SBY", {"tzone": None}),
        ("/planes/N10156", {"tailnum": "N10156", "year": 2004, "speed": None}),
        ("/weather/1", {"origin": "EWR", "hour": 0, "pressure": None, "wind_gust": None}),
        ("/flights/1", {"flight": 0, "carrier": "9E", "tailnum": "N10156", "distance": 1400}),
        ("/flights/10", {"flight": 9, "dep_time": None, "dep_delay": None}),
    ],
)
def test_a_row_is_got_by_its_key(client: httpx.Client, path: str, expected: dict[str, object]) -> None:
    """A key that the data has is the key in the URL, and the files' NA is null."""
    row = client.get(path).json()
    assert {name: row[name] for name in expected} == expected


def test_a_row_is_created_changed_and_deleted(client: httpx.Client) -> None:
    """All verbs work on a table with a key of its own."""
    created = client.post("/airlines", json={"carrier": "ZZ", "name": "Zeppelin"})
    assert (created.status_code, created.json()) == (201, {"carrier": "ZZ", "name": "Zeppelin"})
    changed = client.patch("/airlines/ZZ", json={"name": "Zeppelin Lines"})
    assert (changed.status_code, changed.json()["name"]) == (200, "Zeppelin Lines")
    assert client.get("/airlines/ZZ").json()["name"] == "Zeppelin Lines"
    assert client.delete("/airlines/ZZ").status_code == 204
    assert client.get("/airlines/ZZ").status_code == 404


def test_a_row_with_a_generated_key_is_created(client: httpx.Client) -> None:
    """The database gives the key that the caller has none for, after those of the loaded rows."""
    flight = client.get("/flights/1").json()
    del flight["id"]
    created = client.post("/flights", json=flight | {"flight": 4711})
    assert created.status_code == 201, created.text
    assert created.json()["id"] > TOTALS["flights"]
    path = f"/flights/{created.json()['id']}"
    assert client.get(path).json()["flight"] == 4711
    assert client.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/airlines", {"carrier": "UA", "name": "Twice"}, 409),
        ("DELETE", "/airlines/UA", None, 409),
        ("POST", "/airlines", {"name": "No code"}, 422),
        ("PATCH", "/airlines/UA", {"nme": "Misspelt"}, 422),
        ("GET", "/airlines/XX", None, 404),
        ("GET", "/flights/soon", None, 422),
        ("GET", "/flights?limit=0", None, 422),
        ("GET", "/flights?order_by=tailnum", None, 422),
    ],
)
def test_a_bad_request_is_refused(
    client: httpx.Client, method: str, path: str, body: dict[str, str] | None, status: int
) -> None:
    """A duplicate, a row that others refer to, an unknown field, a wrong key each have their status, and no 500."""
    response = client.request(method, path, json=body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_search_looks_at_the_search_fields(client: httpx.Client) -> None:
    """`q` finds part of a name, whatever its case."""
    assert [row["faa"] for row in items(client, "/airports", q="kennedy")] == ["JFK"]
    assert [row["tailnum"] for row in items(client, "/planes", q="airbus")] == ["N102UW"]
    assert items(client, "/airlines", q="%") == []


def test_order_is_the_callers(client: httpx.Client) -> None:
    """`order_by=-a,b` orders, and the default is the table's key."""
    distances = [row["distance"] for row in items(client, "/flights", order_by="-distance,id", limit=60)]
    assert distances == sorted(distances, reverse=True)
    assert [row["carrier"] for row in items(client, "/airlines")] == ["9E", "AA", "UA"]


def test_pages_join_to_the_whole(client: httpx.Client) -> None:
    """Pages don't overlap and miss nothing."""
    pages = [row["id"] for offset in range(0, 60, 25) for row in items(client, "/flights", limit=25, offset=offset)]
    assert pages == [row["id"] for row in items(client, "/flights", limit=1000)]
    assert len(pages) == 60


def test_health_and_documentation_answer(client: httpx.Client) -> None:
    """The URLs that the start message names are there."""
    assert client.get("/health").status_code == 200
    assert client.get("/docs").status_code == 200
    assert client.get("/", follow_redirects=True).url.path == "/docs"
    assert set(TOTALS) <= {path.split("/")[1] for path in client.get("/openapi.json").json()["paths"]}


@pytest.mark.parametrize("name", TOTALS)
def test_the_page_of_the_document_can_be_tried_from_top_to_bottom(client: httpx.Client, name: str) -> None:
    """The examples that stand there create a record, and those of a code get, change and delete it."""
    document = client.get("/openapi.json").json()
    body = document["paths"][f"/{name}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    record = {member: about["examples"][0] for member, about in schema["properties"].items()}
    created = client.post(f"/{name}", json=record)
    assert created.status_code == 201, created.text
    (path,) = [path for path in document["paths"] if path.startswith(f"/{name}/{{")]
    (key, *_) = document["paths"][path]["get"]["parameters"]
    tried = f"/{name}/{next(iter(key['examples'].values()))['value']}"
    assert client.get(tried).status_code == 200
    assert client.patch(tried, json={}).status_code == 200
    assert client.delete(created.headers["location"]).status_code == 204
    if key["name"] != "id":
        assert created.headers["location"] == tried


def test_what_curl_is_told_in_the_read_me_is_answered_so(client: httpx.Client) -> None:
    """Each command, in this order, prints what stands below it."""
    asked = asked_in(PROJECT / "README.md")
    assert len(asked) >= 5
    for each in asked:
        assert each.ask(str(client.base_url).rstrip("/")) == each.answer, each.command


def test_what_it_says_at_its_start_can_be_typed(client: httpx.Client) -> None:
    """Every address that it names is there, and its three commands create, change and delete an airline."""
    base = str(client.base_url).rstrip("/")
    said = ANNOUNCEMENT.format(base=base, database="a database")
    addresses = re.findall(rf"^ +({re.escape(base)}/\S+)", said, re.MULTILINE)
    assert len(addresses) >= 6
    for address in addresses:
        assert client.get(address).status_code == 200, address
    commands = [line.strip() for line in said.splitlines() if line.strip().startswith("curl ")]
    statuses = [Asked(f"{command} -w %{{http_code}}", "").ask(base)[-3:] for command in commands]
    assert statuses == ["201", "200", "204"]
