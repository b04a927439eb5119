"""An `sqlalchemy.URL` that hides every secret when it is printed."""

from __future__ import annotations

from sqlalchemy import URL

__all__ = ["SecretURL"]


class SecretURL(URL):
    """An `sqlalchemy.URL` whose ``str`` and ``repr`` hide the secrets of the query too.

    SQLAlchemy hides the password between user and host only; ``?sslpassword=``, ``?motherduck_token=`` or
    ``odbc_connect=...PWD=...`` it prints, also as ``repr(engine)``. This one hides them all, is equal to the plain URL
    of the same parts, and goes everywhere that a URL goes.

    Example:
        >>> SecretURL.create("duckdb", database="sales", query={"motherduck_token": "abc"})
        duckdb:///sales?motherduck_token=***
    """

    __slots__ = ()

    def render_as_string(self, hide_password: bool = True) -> str:
        """Render the URL as text, by default with ``***`` in the place of each secret.

        Args:
            hide_password: False shows the secrets: for the driver, never for a log.
        """
        if hide_password:
            from svc_infra.dburl.redaction import redact_url

            return redact_url(self)
        return super().render_as_string(hide_password=False)

    def __str__(self) -> str:
        return self.render_as_string()

    def __repr__(self) -> str:
        return self.render_as_string()

    def __hash__(self) -> int:
        # Equal to the plain URL of the same parts, so the hash must be the plain URL's.
        return hash(super().render_as_string())
