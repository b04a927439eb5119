"""Speaks just enough of each protocol to see whether a name resolves, a port answers and TLS can be agreed on."""

from __future__ import annotations

import socket
import ssl
import struct
from datetime import UTC, datetime

from svc_infra.dburl._dialects.mysql import tls_context as mysql_context
from svc_infra.dburl._dialects.postgresql import tls_context as postgresql_context
from svc_infra.dburl.resolved import ResolvedUrl
from svc_infra.dburl.tls import TlsContext

__all__ = ["ProbeFailed", "open_socket", "open_tls", "resolve_hosts"]

_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "snowflake": 443}
_CLIENT_SSL = 0x0800
_NO_TLS = (
    "For a local server without TLS add ?sslmode=disable (MySQL: ?ssl-mode=DISABLED); else turn TLS on in the server"
)


class ProbeFailed(Exception):
    """A probe found what is wrong by itself.

    Attributes:
        problem: What is wrong.
        remedy: What to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def targets(resolved: ResolvedUrl) -> list[tuple[str, int]]:
    """The hosts and ports of the URL, with the usual port where it names none."""
    if resolved.dialect == "snowflake":
        account = resolved.url.host or ""
        return [(account if "." in account.partition(".")[2] else f"{account}.snowflakecomputing.com", 443)]
    return [(host or "localhost", port or _PORTS[resolved.dialect]) for host, port in resolved.hosts]


def resolve_hosts(resolved: ResolvedUrl) -> str | None:
    """Look each host's addresses up; None when there is no host, as with a socket.

    Raises:
        ProbeFailed: None of them has an address.
    """
    found, failed = [], []
    for host, port in targets(resolved):
        try:
            addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        except OSError as error:
            failed.append(f"{host}: {error.strerror or error}")
        else:
            found.append(
                f"{host} is {', '.join(sorted(addresses))}" if {host} != addresses else f"{host} is an address"
            )
    if failed and not found:
        raise ProbeFailed(
            "; ".join(failed),
            "Check the host's spelling: in Docker Compose it is the service's name, in Kubernetes service.namespace. "
            "Is the VPN up?",
        )
    return "; ".join([*found, *failed]) or None


def _connect(resolved: ResolvedUrl, timeout: float) -> socket.socket:
    failures: list[OSError] = []
    for address in targets(resolved):
        try:
            return socket.create_connection(address, timeout=timeout)
        except OSError as error:
            failures.append(error)
    raise failures[0]


def open_socket(resolved: ResolvedUrl, timeout: float) -> str | None:
    """Connect to the first host that answers, or to the socket; None when the URL names neither.

    Raises:
        OSError: None answers.
    """
    path = resolved.socket
    if path is not None:
        file = f"{path}/.s.PGSQL.{resolved.url.query.get('port', 5432)}" if resolved.dialect == "postgresql" else path
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(file if file[0] != "@" else "\0" + file[1:])
        return f"{file} answers"
    if not targets(resolved):
        return None
    with _connect(resolved, timeout) as connection:
        host, port = connection.getpeername()[:2]
        return f"{host} port {port} answers"


def open_tls(resolved: ResolvedUrl, timeout: float) -> str | None:
    """Agree on TLS as the driver will; None where none is asked for or the driver alone can.

    Raises:
        ProbeFailed: The server has no TLS, and the URL wants it.
        ssl.SSLError: It has, and its certificate or protocol does not do.
    """
    if (
        resolved.socket is not None
        or resolved.dialect not in {"postgresql", "mysql", "mariadb"}
        or not targets(resolved)
    ):
        return None
    options = dict(resolved.options)
    mode = options.get("sslmode") or options.get("ssl_mode", "disabled").lower()
    if mode in {"disable", "disabled", "allow"}:
        return None
    wants = mode not in {"prefer", "preferred"}
    postgresql = resolved.dialect == "postgresql"
    make_context = postgresql_context if postgresql else mysql_context
    context = make_context(options) if wants else TlsContext("none")
    host = targets(resolved)[0][0]
    with _connect(resolved, timeout) as connection:
        if not (_offers_postgresql(connection, options) if postgresql else _offers_mysql(connection)):
            if wants:
                raise ProbeFailed(f"the URL wants TLS ({mode}), and the server offers none", _NO_TLS)
            return "the server offers none, the connection is plain text"
        if context is None:
            return None
        if options.get("sslnegotiation") == "direct":
            context.set_alpn_protocols(["postgresql"])
        with context.wrap_socket(connection, server_hostname=host) as encrypted:
            return _describe(encrypted, context)


def _offers_postgresql(connection: socket.socket, options: dict[str, str]) -> bool:
    # https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
    if options.get("sslnegotiation") == "direct":
        return True
    connection.sendall(struct.pack("!ii", 8, 80877103))
    return connection.recv(1) == b"S"


def _offers_mysql(connection: socket.socket) -> bool:
    # https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
    header = _read(connection, 4)
    payload = _read(connection, int.from_bytes(header[:3], "little"))
    if payload[:1] == b"\xff":
        number = int.from_bytes(payload[1:3], "little")
        raise ProbeFailed(
            f"the server refuses this host (error {number})",
            "Ask the server's administrator; after too many errors: FLUSH HOSTS",
        )
    after_version = payload.index(b"\0", 1) + 1
    capabilities = int.from_bytes(payload[after_version + 13 : after_version + 15], "little")
    if not capabilities & _CLIENT_SSL:
        return False
    request = struct.pack("<IIB23x", 0x8200 | _CLIENT_SSL, 2**24, 45)
    connection.sendall(len(request).to_bytes(3, "little") + b"\x01" + request)
    return True


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ProbeFailed(
                "the server closed the connection at once",
                "Is this the database's port? Is a firewall or a limit of connections in between?",
            )
        data += part
    return data


def _describe(encrypted: ssl.SSLSocket, context: ssl.SSLContext) -> str:
    cipher = encrypted.cipher()
    text = f"{encrypted.version()}, {cipher[0] if cipher else 'unknown cipher'}"
    certificate = encrypted.getpeercert()
    if not certificate:
        return f"{text}, certificate not checked"
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    checked = (
        "certificate and host name checked" if context.check_hostname else "certificate checked, not the host name"
    )
    return f"{text}, {checked}, valid until {expires:%Y-%m-%d}"
