"""TLS for real: each mode, with each driver, against servers that insist on it and one that has none."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from sqlalchemy.exc import DBAPIError

from dbservers.mysql import MysqlTlsServer
from dbservers.postgres import PostgresTlsServer
from svc_infra.dburl import resolve_url
from svc_infra.dburl.errors import EncryptionRefused

Mode = Literal["async", "sync"]

IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
CIPHER = "SHOW SESSION STATUS LIKE 'Ssl_cipher'"

POSTGRESQL: list[tuple[str, Mode]] = [("asyncpg", "async"), ("psycopg", "async"), ("psycopg", "sync")]
MYSQL: list[tuple[str, Mode]] = [("asyncmy", "async"), ("aiomysql", "async"), ("pymysql", "sync")]

# What a driver raises when it does not trust the server: its own error, or TLS's before the driver has a say.
REFUSED = (DBAPIError, EncryptionRefused, ssl.SSLError, OSError)


def with_host(url: str, host: str, query: str, scheme: str) -> str:
    parts = urlsplit(url)
    userinfo, _, _ = parts.netloc.rpartition("@")
    return parts._replace(scheme=scheme, netloc=f"{userinfo}@{host}:{parts.port}", query=query).geturl()


@pytest.fixture(scope="module")
def tls_database(postgres_tls_server: PostgresTlsServer) -> Iterator[str]:
    """One database for all: nothing is written."""
    url = postgres_tls_server.create_database()
    yield url
    postgres_tls_server.drop_database(url)


@pytest.fixture(scope="module")
def mysql_tls_database(mysql_tls_server: MysqlTlsServer) -> Iterator[str]:
    """One database for all: nothing is written."""
    url = mysql_tls_server.create_database()
    yield url
    mysql_tls_server.drop_database(url)


@pytest.mark.parametrize(("driver", "mode"), POSTGRESQL)
class TestPostgresql:
    @pytest.fixture
    def url(self, tls_database: str, driver: str) -> Any:
        return lambda host, query: with_host(tls_database, host, query, f"postgresql+{driver}")

    @pytest.mark.parametrize("query", ["", "sslmode=require", "sslmode=prefer", "ssl=true"])
    async def test_encrypts_without_a_certificate_authority(
        self, driver: str, mode: Mode, url: Any, query: str, connect_and_run: Any
    ) -> None:
        """The default, require and prefer encrypt and trust any certificate."""
        resolved = resolve_url(url("127.0.0.1", query), environ={}, mode=mode)
        assert await connect_and_run(resolved, IS_ENCRYPTED) is True

    async def test_refuses_to_go_without(self, driver: str, mode: Mode, url: Any, connect_and_run: Any) -> None:
        """Disable speaks plain text, which this server refuses."""
        with pytest.raises(REFUSED):
            await connect_and_run(resolve_url(url("127.0.0.1", "sslmode=disable"), environ={}, mode=mode), IS_ENCRYPTED)

    @pytest.mark.parametrize(
        ("sslmode", "host", "authority", "connects"),
        [
            ("verify-full", "localhost", "ca_path", True),
            ("verify-full", "127.0.0.1", "ca_path", False),
            ("verify-full", "localhost", "wrong_ca_path", False),
            ("verify-ca", "127.0.0.1", "ca_path", True),
            ("verify-ca", "127.0.0.1", "wrong_ca_path", False),
            ("require", "127.0.0.1", "ca_path", True),
            ("require", "127.0.0.1", "wrong_ca_path", False),
        ],
    )
    async def test_checks_authority_and_host_name(
        self,
        driver: str,
        mode: Mode,
        url: Any,
        postgres_tls_server: PostgresTlsServer,
        sslmode: str,
        host: str,
        authority: str,
        connects: bool,
        connect_and_run: Any,
    ) -> None:
        """verify-full refuses a wrong authority and a wrong host name; verify-ca and require with a root the former."""
        path = getattr(postgres_tls_server.certificates, authority)
        resolved = resolve_url(url(host, f"sslmode={sslmode}&sslrootcert={path}"), environ={}, mode=mode)
        if connects:
            assert await connect_and_run(resolved, IS_ENCRYPTED) is True
        else:
            with pytest.raises(REFUSED):
                await connect_and_run(resolved, IS_ENCRYPTED)

    async def test_verify_full_without_a_root_trusts_the_system_alone(
        self, driver: str, mode: Mode, url: Any, connect_and_run: Any
    ) -> None:
        """Without sslrootcert the system's authorities count, which did not sign this server's certificate."""
        resolved = resolve_url(url("localhost", "sslmode=verify-full"), environ={}, mode=mode)
        with pytest.raises(REFUSED):
            await connect_and_run(resolved, IS_ENCRYPTED)

    async def test_logs_in_by_a_client_certificate(
        self, driver: str, mode: Mode, url: Any, postgres_tls_server: PostgresTlsServer, connect_and_run: Any
    ) -> None:
        """Both sslcert and sslkey are shown to the server, which lets `certuser` in without a password."""
        files = postgres_tls_server.certificates
        query = (
            f"sslmode=verify-full&sslrootcert={files.ca_path}"
            f"&sslcert={files.client_certificate_path}&sslkey={files.client_key_path}"
        )
        parts = urlsplit(url("localhost", query))
        address = parts._replace(netloc=f"certuser@localhost:{parts.port}", path="/postgres").geturl()
        resolved = resolve_url(address, environ={}, mode=mode)
        assert await connect_and_run(resolved, "SELECT current_user") == "certuser"


@pytest.mark.parametrize(("driver", "mode"), POSTGRESQL)
async def test_disable_is_plain_text(driver: str, mode: Mode, postgres_url: str, connect_and_run: Any) -> None:
    """With sslmode=disable nothing is encrypted, and a server without TLS is reached."""
    resolved = resolve_url(postgres_url.replace("postgresql:", f"postgresql+{driver}:"), environ={}, mode=mode)
    assert await connect_and_run(resolved, IS_ENCRYPTED) is False


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # aiomysql forgets the socket of a refused login
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("driver", "mode"), MYSQL)
class TestMysql:
    @pytest.fixture(autouse=True)
    def collect(self) -> Iterator[None]:
        """Have forgotten sockets found within the test that left them."""
        yield
        gc.collect()

    @pytest.fixture
    def url(self, mysql_tls_database: str, driver: str) -> Any:
        return lambda host, query: with_host(mysql_tls_database, host, query, f"mysql+{driver}")

    async def test_encrypts_when_required(self, driver: str, mode: Mode, url: Any, connect_and_run: Any) -> None:
        """REQUIRED encrypts and trusts any certificate."""
        resolved = resolve_url(url("127.0.0.1", "ssl-mode=REQUIRED"), environ={}, mode=mode)
        assert await connect_and_run(resolved, CIPHER)

    async def test_refuses_to_go_without(self, driver: str, mode: Mode, url: Any, connect_and_run: Any) -> None:
        """DISABLED speaks plain text, which this server refuses."""
        with pytest.raises(REFUSED):
            await connect_and_run(resolve_url(url("127.0.0.1", "ssl-mode=DISABLED"), environ={}, mode=mode), CIPHER)

    @pytest.mark.parametrize(
        ("query", "host", "authority", "connects"),
        [
            ("ssl-mode=VERIFY_IDENTITY", "localhost", "ca_path", True),
            ("ssl-mode=VERIFY_IDENTITY", "127.0.0.1", "ca_path", False),
            ("ssl-mode=VERIFY_IDENTITY", "localhost", "wrong_ca_path", False),
            ("ssl-mode=VERIFY_CA", "127.0.0.1", "ca_path", True),
            ("ssl-mode=VERIFY_CA", "127.0.0.1", "wrong_ca_path", False),
            ("charset=utf8mb4", "localhost", "ca_path", True),
            ("charset=utf8mb4", "127.0.0.1", "ca_path", False),
            ("ssl_check_hostname=false", "127.0.0.1", "ca_path", True),
        ],
    )
    async def test_checks_authority_and_host_name(
        self,
        driver: str,
        mode: Mode,
        url: Any,
        mysql_tls_server: MysqlTlsServer,
        query: str,
        host: str,
        authority: str,
        connects: bool,
        connect_and_run: Any,
    ) -> None:
        """VERIFY_IDENTITY, and ssl_ca alone, refuse a wrong authority and a wrong host name; VERIFY_CA the former."""
        path = getattr(mysql_tls_server.certificates, authority)
        resolved = resolve_url(url(host, f"{query}&ssl_ca={path}"), environ={}, mode=mode)
        if connects:
            assert await connect_and_run(resolved, CIPHER)
        else:
            with pytest.raises(REFUSED):
                await connect_and_run(resolved, CIPHER)


@pytest.mark.parametrize(("driver", "mode"), MYSQL)
async def test_mysql_disabled_is_plain_text(driver: str, mode: Mode, mysql_url: str, connect_and_run: Any) -> None:
    """With ssl-mode=DISABLED nothing is encrypted."""
    resolved = resolve_url(
        f"{mysql_url.replace('mysql:', f'mysql+{driver}:')}?ssl-mode=DISABLED", environ={}, mode=mode
    )
    assert await connect_and_run(resolved, CIPHER) == ""


@pytest.mark.parametrize(("driver", "mode"), MYSQL)
async def test_mysql_required_fails_without_tls(driver: str, mode: Mode, mysql_url: str, connect_and_run: Any) -> None:
    """With ssl-mode=REQUIRED a server that offers no TLS is refused."""
    resolved = resolve_url(
        f"{mysql_url.replace('mysql:', f'mysql+{driver}:')}?ssl-mode=REQUIRED", environ={}, mode=mode
    )
    with pytest.raises(REFUSED):
        await connect_and_run(resolved, CIPHER)
