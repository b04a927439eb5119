"""The page for people in a real browser: nothing of a row runs, everything can be reached, read and used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, Page
from sqlalchemy import ForeignKey, String, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.admin.add import add_sql_admin
from svc_infra.api.fastapi.admin.guards import loopback_only
from svc_infra.api.fastapi.db.sql.add import get_database, setup_sql
from svc_infra.db.sql.resource import SqlResource

# The browser and the application live on one event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = [
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "</title></style><svg onload=window.pwned=1>",
    "' onmouseover='window.pwned=1",
    "x" * 500,
    "\u202edesrever",
]
SIZES = {"wide": (1280, 800), "narrow": (380, 700)}
PATHS = {
    "overview": "",
    "rows": "/resources/people",
    "empty": "/resources/people?q=nobody-is-called-so",
    "row": "/resources/people/record?key=1",
    "missing": "/resources/nothing",
}

UNTIL_SCROLLED = """() => new Promise((resolve) => {
  const look = () => (document.activeElement.scrollLeft > 0 ? resolve() : requestAnimationFrame(look));
  look();
})"""

# The contrast of every text with the ground that it stands on, as WCAG 2.2 defines it (1.4.3); and what has no name.
AUDIT = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = node => {
    for (; node; node = node.parentElement) {
      const found = rgb(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.tagName === "OPTION") continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([walker.currentNode.data.slice(0, 40), ratio]);
  }
  const nameless = [...document.querySelectorAll("a, button, input:not([type=hidden]), select, meter, [role=region]")]
    .filter(node => !(node.textContent.trim() || node.ariaLabel || (node.labels && node.labels.length)))
    .map(node => node.outerHTML);
  const levels = [...document.querySelectorAll("h1, h2, h3")].map(node => Number(node.tagName[1]));
  return {
    faint, nameless, levels,
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    lang: document.documentElement.lang,
    scripts: document.scripts.length,
    pwned: window.pwned === undefined ? null : window.pwned,
  };
}"""


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(600))
    api_key: Mapped[str] = mapped_column(String(50))


class Letter(Base):
    __tablename__ = "letters"
    id: Mapped[int] = mapped_column(primary_key=True)
    sender_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    a_column_with_a_rather_long_name: Mapped[int | None]
    another_column_with_a_rather_long_name: Mapped[int | None]


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """Serve *app* on a free port of this machine; the value is the address of the page."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(60):
            while not server.started and not task.done():  # noqa: ASYNC110 (uvicorn has no event for it)
                await asyncio.sleep(0.01)
        yield f"http://localhost:{listener.getsockname()[1]}/_admin"
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The page of an application whose rows are hostile."""
    app = FastAPI(title="Letters & people")
    people = SqlResource(
        model=Person,
        prefix="/people",
        search_fields=["name"],
        allowed_order_fields=["id", "name"],
        ordering_default="id",
    )
    setup_sql(
        app,
        [people, SqlResource(model=Letter, prefix="/letters")],
        url=f"sqlite:///{tmp_path_factory.mktemp('admin')}/page.db",
    )
    add_sql_admin(app, guard=loopback_only, page_size=20)
    async with served(app) as found:
        database = get_database(app)
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            people_rows = [
                {"id": number, "name": HOSTILE[number % len(HOSTILE)], "api_key": "open-sesame"}
                for number in range(1, 51)
            ]
            await connection.execute(insert(Person), people_rows)
            await connection.execute(insert(Letter), [{"id": 1, "sender_id": 3}])
        yield found


async def opened(browser: Browser, complaints: list[str], **options: Any) -> Page:
    """Open a page that notes everything that the browser complains of, a broken policy included."""
    page = await browser.new_page(**options)
    page.set_default_timeout(15_000)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_every_page_is_readable_named_and_fits(
    browser: Browser, address: str, size: str, scheme: Literal["light", "dark"]
) -> None:
    """Contrast 4.5, a name for every control, headings in order, no sideways scrolling, no script, no complaint."""
    complaints: list[str] = []
    width, height = SIZES[size]
    page = await opened(
        browser, complaints, viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    for name, path in PATHS.items():
        answer = await page.goto(address + path)
        assert answer is not None
        found = await page.evaluate(AUDIT)
        assert found["faint"] == [], name
        assert found["nameless"] == [], name
        assert found["levels"][0] == 1, name
        assert found["levels"].count(1) == 1, name
        assert all(after - before <= 1 for before, after in zip(found["levels"], found["levels"][1:], strict=False)), (
            name
        )
        assert found["overflow"] <= 0, name
        assert (found["lang"], found["scripts"], found["pwned"]) == ("en", 0, None), name
    # A missing page is answered 404, which the browser's console says of every page.
    assert [text for text in complaints if "404" not in text] == []


async def test_nothing_of_a_row_runs(browser: Browser, address: str) -> None:
    """Every hostile row is shown as the text that it is, on the list and on its own page."""
    complaints: list[str] = []
    page = await opened(browser, complaints)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await page.goto(address + PATHS["rows"])
    assert await page.get_by_text(HOSTILE[0], exact=True).count() == 3
    for number, text in enumerate(HOSTILE[:4]):
        await page.goto(f"{address}/resources/people/record?key={number or 6}")
        assert await page.locator("dd pre").nth(1).text_content() == text
        await page.locator("dd pre").nth(1).hover()
        assert await page.evaluate("window.pwned === undefined")
        assert "open-sesame" not in await page.content()
    assert complaints == []
    assert {request.partition("/_admin")[0] for request in requests} <= {address.removesuffix("/_admin"), "data:,"}


async def test_somebody_finds_a_row_and_what_refers_to_it(browser: Browser, address: str) -> None:
    """Search, order, pages, a row, the rows that refer to it and back: by links and one form."""
    complaints: list[str] = []
    page = await opened(browser, complaints)
    await page.goto(address)
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name="people").click()
    await page.get_by_role("link", name="Next").click()
    assert await page.locator("tbody tr").first.locator("th").text_content() == "21"
    await page.get_by_role("link", name="Previous").click()
    await page.get_by_label("Order").select_option("-id")
    await page.get_by_label("Search").fill("onmouseover")
    await page.get_by_role("button", name="Show").click()
    assert await page.locator("tbody th").all_text_contents() == ["45", "39", "33", "27", "21", "15", "9", "3"]
    assert await page.locator("th[aria-sort=descending]").text_content() == "id \N{DOWNWARDS ARROW}"
    assert await page.get_by_label("Search").input_value() == "onmouseover"
    await page.get_by_role("link", name="3", exact=True).click()
    await page.get_by_role("link", name="letters by sender_id").click()
    assert await page.locator("tbody tr").count() == 1
    await page.get_by_role("link", name="1", exact=True).click()
    await page.locator("dd").get_by_role("link", name="3").click()
    assert await page.get_by_role("heading", level=1).text_content() == "Person 3"
    await page.go_back()
    await page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Overview").click()
    assert await page.get_by_role("heading", level=1).text_content() == "Overview"
    assert complaints == []


async def test_the_keyboard_reaches_everything(browser: Browser, address: str) -> None:
    """The first stop leads past the navigation; a wide table can be scrolled; what has the focus shows it."""
    page = await opened(browser, [], viewport={"width": 380, "height": 700})
    await page.goto(address + "/resources/letters")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    await page.goto(address + "/resources/letters")
    stops: list[str] = []
    for _ in range(30):
        await page.keyboard.press("Tab")
        stops.append(
            await page.evaluate("document.activeElement.getAttribute('role') || document.activeElement.tagName")
        )
        if stops[-1] == "region":
            break
    assert stops[-1] == "region"
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.keyboard.press("ArrowRight")
    async with asyncio.timeout(10):  # the page forbids the code by which the browser's driver waits
        await page.evaluate(UNTIL_SCROLLED)
