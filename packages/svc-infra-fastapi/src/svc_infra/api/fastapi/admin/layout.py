"""The frame of every page: head, navigation, trail, and the headers that confine the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.admin.html import Child, Html, element
from svc_infra.api.fastapi.admin.resources import AdminResource
from svc_infra.api.fastapi.admin.style import content_security_policy, style_sheet

__all__ = ["Layout"]

_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


@dataclass(frozen=True)
class Layout:
    """What every page of one application shares.

    Attributes:
        title: The application's name.
        prefix: Path of the page within the application.
        resources: What the navigation lists.
    """

    title: str
    prefix: str
    resources: Sequence[AdminResource]

    def page(
        self,
        request: Request,
        heading: str,
        *content: Child,
        note: Child = None,
        trail: Sequence[tuple[str, str]] = (),
        current: AdminResource | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return a page.

        Args:
            request: What it answers; HEAD gets the headers alone.
            heading: Its main heading.
            content: What follows it.
            note: A line below the heading.
            trail: Text and path of the pages above this one, from the overview on.
            current: The resource that it is about.
            status: The HTTP status.
            headers: Further headers.
        """
        document = element(
            "html",
            element(
                "head",
                element("meta", charset="utf-8"),
                element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                element("meta", name="robots", content="noindex"),
                element("title", f"{heading} \N{MIDDLE DOT} {self.title}"),
                element("link", rel="icon", href="data:,"),
                element("style", Html(style_sheet())),
            ),
            element(
                "body",
                element("a", "Skip to the content", href="#content", class_="skip"),
                self._top(request),
                element(
                    "div",
                    self._side(request, current),
                    element(
                        "main",
                        self._trail(request, trail, heading),
                        element("h1", heading),
                        element("p", note, class_="note"),
                        content,
                        id="content",
                    ),
                    class_="frame",
                ),
            ),
            lang="en",
        )
        body = f"<!doctype html>{document}".encode("utf-8", "replace")
        policy = {"Content-Security-Policy": content_security_policy()}
        found = Response(body, status, {**_HEADERS, **policy, **(headers or {})}, media_type="text/html")
        if request.method == "HEAD":
            found.body = b""  # the length of what GET would answer stays in the headers
        return found

    def href(self, request: Request, path: str = "") -> str:
        """Return the address of a page; *path* is below the page's prefix."""
        return str(request.scope.get("root_path", "")) + self.prefix + path

    def _top(self, request: Request) -> Html:
        return element(
            "header",
            element("a", self.title, href=self.href(request), class_="brand"),
            element("span", "Read-only", class_="badge plain"),
            class_="top",
        )

    def _side(self, request: Request, current: AdminResource | None) -> Html:
        overview = element("a", "Overview", href=self.href(request), aria_current=None if current else "page")
        entries = [
            element(
                "li",
                element(
                    "a",
                    resource.title,
                    href=self.href(request, resource.rows_path()),
                    aria_current="page" if resource is current else None,
                ),
            )
            for resource in self.resources
            if resource.is_browsable
        ]
        return element(
            "nav",
            element("ul", element("li", overview)),
            [element("p", "Resources"), element("ul", entries)] if entries else None,
            class_="side",
            aria_label="Pages",
        )

    def _trail(self, request: Request, trail: Sequence[tuple[str, str]], heading: str) -> Html | None:
        if not trail:
            return None
        steps = [element("li", element("a", text, href=self.href(request, path))) for text, path in trail]
        here = element("li", heading, aria_current="page")
        return element("nav", element("ol", steps, here), class_="trail", aria_label="Breadcrumb")
