"""What to do about an error that a step of the check met."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svc_infra.dburl.resolved import ResolvedUrl

__all__ = ["remedy_for"]

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATES = {
    "28P01": "User or password is wrong. Check both, and that special characters of the password are percent-encoded",
    "28000": "The server does not let this user in: does the role exist, and has pg_hba.conf a line for it and TLS?",
    "3D000": "The database does not exist. Create it, or correct the name",
    "42501": "The user may not connect to this database: GRANT CONNECT ON DATABASE",
    "53300": "All connections of the server are in use: lower pool_size times processes, or put a pooler in between",
    "57P03": "The server is starting, stopping or recovering: wait and try again",
    "08P01": "A pooler refuses a parameter of the session: add it to ignore_startup_parameters or remove it here",
}
# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
_MYSQL_ERRORS = {
    1040: _SQLSTATES["53300"],
    1044: "The user may not use this database: GRANT it",
    1045: "User or password is wrong, or the user may not come from this host",
    1049: _SQLSTATES["3D000"],
    1129: "The server blocks this host after too many errors: FLUSH HOSTS",
    2003: "Nothing answers there, or the TLS files are wrong: see the steps before",
    3159: "The server takes encrypted connections only: add ?ssl-mode=REQUIRED",
}


def remedy_for(step: str, error: BaseException, resolved: ResolvedUrl) -> str:
    """The remedy, found by the error's class or code."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in chain:
        chain.append(seen)
        seen = getattr(seen, "orig", None) or seen.__cause__ or seen.__context__
    for one in chain:
        found = _known(one, resolved)
        if found is not None:
            return found
    if isinstance(error, TimeoutError):
        return _timeout(step)
    if step == "login" and resolved.dialect not in {"sqlite", "duckdb"}:
        # libpq gives no code for an error before the session begins.
        return "The server refused the login: check user and password, pg_hba.conf, and whether the database exists"
    return "See the driver's message above; the server's log often tells more"


def _known(error: BaseException, resolved: ResolvedUrl) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error)
    if isinstance(error, ssl.SSLError):
        return "TLS could not be agreed on: is this the database's port, and does the server speak TLS 1.2 or newer?"
    if isinstance(error, ConnectionRefusedError):
        host, port = resolved.url.host or "localhost", resolved.url.port
        command = (
            f"pg_isready -h {host}{f' -p {port}' if port else ''}" if resolved.dialect == "postgresql" else "its status"
        )
        return (
            f"Nothing listens on that host and port. Is the database running (check with {command}) and the port right?"
        )
    if isinstance(error, FileNotFoundError):
        return "There is no such socket: is the server running, and the folder the right one?"
    if resolved.dialect in {"mysql", "mariadb"}:
        number = error.args[0] if error.args else None
        return _MYSQL_ERRORS.get(number) if isinstance(number, int) else None
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return _SQLSTATES.get(state) if isinstance(state, str) else None


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    # X509_V_ERR_* of OpenSSL, https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
    if error.verify_code in {62, 64}:
        return (
            "The certificate is for another host name: use a name that it has, or sslmode=verify-ca (MySQL: VERIFY_CA)"
        )
    if error.verify_code == 10:
        return "The server's certificate has expired: renew it"
    return (
        "The certificate is signed by an authority that is not trusted: name its file by sslrootcert= (MySQL: ssl-ca=)"
    )


def _timeout(step: str) -> str:
    if step == "dns":
        return "The name server does not answer: check the network and its settings"
    if step == "tcp":
        return (
            "The host does not answer at all: a firewall or security group drops the packets, or the address is wrong"
        )
    return "The server accepts connections and does not answer: is it overloaded, frozen or another program?"
