"""What a program does with the generated client `flights_client`: run as a script, beside that package.

Its argument is the service's address. It ends with the first call whose answer is not what the client's types say.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import flights_client
from flights_client.api.airlines import airlines_create, airlines_delete, airlines_get, airlines_list, airlines_update
from flights_client.api.flights import flights_get, flights_list
from flights_client.models import (
    AirlineCreate,
    AirlineRead,
    AirlineReadSelection,
    AirlinesGetSelectItem,
    AirlinesListOrderByItem,
    AirlineUpdate,
    FlightRead,
    ProblemDetails,
)


def main(address: str) -> None:
    """Make a call of every kind."""
    client = flights_client.Client(base_url=address, raise_on_unexpected_status=True)
    with client:
        created = airlines_create.sync_detailed(client=client, body=AirlineCreate(carrier="ZZ", name="Zeppelin"))
        assert created.status_code == 201, created
        assert created.parsed == AirlineRead(carrier="ZZ", name="Zeppelin"), created
        etag = created.headers["ETag"]

        got = airlines_get.sync("ZZ", client=client)
        assert isinstance(got, AirlineRead), got
        assert airlines_get.sync_detailed("ZZ", client=client, if_none_match=etag).status_code == 304
        part = airlines_get.sync("ZZ", client=client, select=[AirlinesGetSelectItem.NAME])
        assert part == AirlineReadSelection(name="Zeppelin"), part

        page = airlines_list.sync(client=client, limit=2, order_by=[AirlinesListOrderByItem.CARRIER_DESC], q="e")
        assert [item.carrier for item in page.items] == ["ZZ", "UA"], page
        assert (page.total, page.limit, page.offset) == (4, 2, 0), page
        names = by_cursor(client)
        assert names == sorted(names), names
        assert len(names) == 4, names

        changed = airlines_update.sync_detailed(
            "ZZ", client=client, body=AirlineUpdate(name="Zeppelin Lines"), if_match=etag
        )
        assert changed.parsed.name == "Zeppelin Lines", changed
        lost = airlines_update.sync_detailed("ZZ", client=client, body=AirlineUpdate(name="Lost"), if_match=etag)
        assert (lost.status_code, lost.parsed.type_) == (412, "urn:svc-infra:problem:precondition-failed"), lost

        twice = airlines_create.sync(client=client, body=AirlineCreate(carrier="UA", name="Twice"))
        assert isinstance(twice, ProblemDetails), twice
        assert (twice.status, [error.loc for error in twice.errors]) == (409, [["body", "carrier"]]), twice

        flight = flights_get.sync(1, client=client)
        assert isinstance(flight, FlightRead), flight
        assert flight.time_hour == datetime(2013, 1, 1, tzinfo=UTC), flight
        late = flights_list.sync(client=client, time_hour=datetime(2013, 1, 1, 1, tzinfo=UTC), limit=5)
        assert [item.time_hour.hour for item in late.items] == [1, 1, 1], late

        assert airlines_delete.sync_detailed("ZZ", client=client).status_code == 204
        gone = airlines_get.sync("ZZ", client=client)
        assert (gone.status, gone.detail) == (404, "Not found"), gone


def by_cursor(client: flights_client.Client) -> list[str]:
    """Return every airline's code, page after page."""
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = airlines_list.sync(client=client, limit=3, cursor=cursor)
        found.extend(item.carrier for item in page.items)
        cursor = page.next_cursor
    return found


if __name__ == "__main__":
    main(sys.argv[1])
