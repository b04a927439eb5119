"""TLS contexts: what they check, and that they read their files again."""

from __future__ import annotations

import contextlib
import shutil
import ssl
from pathlib import Path

import pytest
import trustme

from svc_infra.dburl import resolve_url
from svc_infra.dburl.errors import UnreadableSource
from svc_infra.dburl.tls import TlsContext


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> str | None:
    """Shake hands in memory; return the name that the client's certificate was shown with, or None."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=host)
    two = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (one, two):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    certificate = two.getpeercert()
    return str(certificate["subjectAltName"]) if certificate else None


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("db.example.com").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def test_an_authority_that_appears_later_is_used(authority: trustme.CA, server: ssl.SSLContext, tmp_path: Path) -> None:
    """The file may be mounted after the URL was resolved; until then connecting says what is missing."""
    path = tmp_path / "ca.pem"
    context = TlsContext("full", cafile=str(path))
    with pytest.raises(UnreadableSource, match=r"ca\.pem"):
        handshake(context, server, "db.example.com")
    authority.cert_pem.write_to_path(path)
    handshake(context, server, "db.example.com")


def test_a_rotated_authority_is_used(authority: trustme.CA, server: ssl.SSLContext, tmp_path: Path) -> None:
    """A context that was made with the old authority trusts the new one at the next connection."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    context = TlsContext("full", cafile=str(path))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context, server, "db.example.com")
    new = tmp_path / "new.pem"
    authority.cert_pem.write_to_path(new)
    new.replace(path)
    handshake(context, server, "db.example.com")


def test_a_rotated_client_certificate_is_shown(authority: trustme.CA, server: ssl.SSLContext, tmp_path: Path) -> None:
    """A client certificate that was renewed is the one that the next connection shows."""
    certfile, keyfile = tmp_path / "c.crt", tmp_path / "c.key"
    names = []
    context: TlsContext | None = None
    for name in ("one.example", "two.example"):
        issued = authority.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(certfile)
        issued.private_key_pem.write_to_path(keyfile)
        if context is None:
            context = TlsContext("none", certfile=str(certfile), keyfile=str(keyfile))
        names.append(handshake(context, server, "db.example.com"))
    assert "one.example" in str(names[0])
    assert "two.example" in str(names[1])


@pytest.mark.parametrize(
    ("verify", "host", "works"),
    [
        ("none", "other.example", True),
        ("ca", "other.example", True),
        ("full", "other.example", False),
        ("full", "db.example.com", True),
    ],
)
def test_checks_what_it_says(
    verify: str, host: str, works: bool, authority: trustme.CA, server: ssl.SSLContext, tmp_path: Path
) -> None:
    """Only "full" looks at the host name."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = TlsContext(verify, cafile=str(tmp_path / "ca.pem"))  # type: ignore[arg-type]
    if works:
        handshake(context, server, host)
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(context, server, host)


@pytest.mark.parametrize("verify", ["ca", "full"])
def test_a_strange_authority_is_refused(verify: str, server: ssl.SSLContext, certificates: Path) -> None:
    """Both check who signed."""
    context = TlsContext(verify, cafile=str(certificates / "ca.pem"))  # type: ignore[arg-type]
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context, server, "db.example.com")


def test_files_that_hold_something_else_are_named(tmp_path: Path, certificates: Path) -> None:
    """A file that is there and no certificate fails at once, with its path."""
    path = tmp_path / "ca.pem"
    path.write_text("hunter2")
    with pytest.raises(UnreadableSource, match=r"ca\.pem"):
        resolve_url(f"postgresql://h/d?sslmode=verify-full&sslrootcert={path}", environ={}, installed="asyncpg".__eq__)
    shutil.copy(certificates / "c.crt", tmp_path / "c.crt")
    path.write_text("hunter2")
    with pytest.raises(UnreadableSource, match=r"c\.crt") as caught:
        TlsContext("none", certfile=str(tmp_path / "c.crt"), keyfile=str(path))
    assert "hunter2" not in str(caught.value)


def test_an_encrypted_key_needs_its_password(certificates: Path, tmp_path: Path) -> None:
    """Parameter sslpassword opens the key; without it nobody is asked at the terminal."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((certificates / "c.key").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"pa ss"),
    )
    (tmp_path / "c.key").write_bytes(encrypted)
    url = f"postgresql://h/d?sslcert={certificates}/c.crt&sslkey={tmp_path}/c.key"
    with pytest.raises(UnreadableSource, match="sslpassword"):
        resolve_url(url, environ={}, installed="asyncpg".__eq__)
    resolve_url(f"{url}&sslpassword=pa%20ss", environ={}, installed="asyncpg".__eq__)


def test_contexts_are_equal_when_they_check_the_same() -> None:
    """The password counts and is not shown."""
    one = TlsContext("full", cafile="/no/ca.pem", key_password="hunter2")
    assert one == TlsContext("full", cafile="/no/ca.pem", key_password="hunter2")
    assert one != TlsContext("full", cafile="/no/ca.pem")
    assert one != ssl.create_default_context()
    assert len({one, TlsContext("full", cafile="/no/ca.pem", key_password="hunter2")}) == 1
    assert repr(one) == "TlsContext(verify='full', cafile='/no/ca.pem')"
