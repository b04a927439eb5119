"""A URL that asks for TLS never gets a connection in plain text."""

from __future__ import annotations

import pickle

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from dbservers.mysql import MysqlServer
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected, EncryptionRefused
from svc_infra.dburl.errors import DatabaseUrlError


async def select_one(url: str) -> int:
    async with Database(url, environ={}) as database, database.session() as session:
        return (await session.execute(select(1))).scalar_one()


@pytest.mark.parametrize(("driver", "error"), [("aiomysql", EncryptionRefused), ("asyncmy", Disconnected)])
async def test_a_mysql_server_without_tls_is_refused(
    mysql_server: MysqlServer, mysql_url: str, driver: str, error: type[Exception]
) -> None:
    """ssl-mode=REQUIRED on a server that offers no TLS ends in a typed error and in no open connection."""
    ((_, offered),) = mysql_server.execute("SHOW VARIABLES LIKE 'have_ssl'")
    if offered == "YES":
        pytest.skip("this MySQL/MariaDB server offers TLS")
    url = make_url(mysql_url).set(drivername=f"mysql+{driver}")
    plain = url.set(query={}).render_as_string(hide_password=False)
    encrypted = url.set(query={"ssl-mode": "REQUIRED"}).render_as_string(hide_password=False)
    assert await select_one(plain) == 1
    with pytest.raises(error) as caught:
        await select_one(encrypted)
    # What misled the service is its URL, so the error is one of those, too.
    assert isinstance(caught.value, DatabaseUrlError) is (error is EncryptionRefused)
    assert isinstance(caught.value, Disconnected)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    assert str(url.password) not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert mysql_server.execute("SELECT id FROM information_schema.processlist WHERE db = %s", url.database or "") == []


@pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
async def test_a_mysql_server_with_tls_is_used_with_it(mysql_tls_url: str, driver: str) -> None:
    """The same URL works where the server offers TLS, which it insists on."""
    url = make_url(mysql_tls_url).set(drivername=f"mysql+{driver}", query={"ssl-mode": "REQUIRED"})
    assert await select_one(url.render_as_string(hide_password=False)) == 1
