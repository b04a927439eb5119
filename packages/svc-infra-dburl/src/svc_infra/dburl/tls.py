"""TLS contexts that know their files, and read them again when they change."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Literal, Self

from svc_infra.dburl.errors import UnreadableSource

__all__ = ["TlsContext", "Verification"]

Verification = Literal["none", "ca", "full"]
"""What of the server's certificate is checked: nothing, who signed it, or also that it is for this host."""

_Stamp = tuple[int, int, int]


class TlsContext(ssl.SSLContext):
    """An `ssl.SSLContext` for a database connection.

    The files are read when the context is made and, if they have changed since (a rotated secret or certificate), at
    the next connection. A file that is not there yet is an error only when a connection is opened: the place where a
    URL is resolved need not be the one where it is used.

    Attributes:
        verify: What of the server's certificate is checked.
        cafile: Certificates that are trusted, PEM. None with ``verify`` not "none": those of the operating system.
        capath: Folder of such certificates under their hashed names.
        certfile: The client's certificate, PEM.
        keyfile: Its key, PEM; None if it is in `certfile`.
        crlfile: Revoked certificates, PEM.

    Two contexts are equal when they check the same and name the same files.
    """

    verify: Verification
    cafile: str | None
    capath: str | None
    certfile: str | None
    keyfile: str | None
    crlfile: str | None
    _key_password: str | None
    _stamps: dict[str, _Stamp]

    def __new__(
        cls,
        verify: Verification,
        *,
        cafile: str | None = None,
        capath: str | None = None,
        certfile: str | None = None,
        keyfile: str | None = None,
        key_password: str | None = None,
        crlfile: str | None = None,
    ) -> Self:
        """Make the context and read the files that are there; *key_password* is that of the client's key."""
        self = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        self.check_hostname = verify == "full"
        self.verify_mode = ssl.CERT_NONE if verify == "none" else ssl.CERT_REQUIRED
        self.verify = verify
        self.cafile = cafile
        self.capath = capath
        self.certfile = certfile
        self.keyfile = keyfile
        self.crlfile = crlfile
        self._key_password = key_password
        self._stamps = {}
        if verify != "none" and cafile is None and capath is None:
            self.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if capath is not None:
            self.load_verify_locations(capath=capath)
        if crlfile is not None:
            self.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if cafile or certfile or crlfile:
            self._load_files(missing_ok=True)
        return self

    def require_files(self) -> None:
        """Raise unless each file that the context names can be read and holds what it should.

        Raises:
            UnreadableSource: One is missing, unreadable or not PEM.
        """
        self._load_files(missing_ok=False)

    def _load_files(self, *, missing_ok: bool) -> None:
        for path in (self.cafile, self.crlfile):
            if path is not None and self._has_changed(path, missing_ok):
                self._guard(path, "certificates", lambda path=path: self.load_verify_locations(cafile=path))
        if self.certfile is not None:
            changed = [
                self._has_changed(path, missing_ok) for path in (self.certfile, self.keyfile) if path is not None
            ]
            if (
                any(changed)
                and self.certfile in self._stamps
                and (self.keyfile is None or self.keyfile in self._stamps)
            ):
                password = self._key_password or ""
                self._guard(
                    self.certfile,
                    "certificate and key",
                    # Without a password OpenSSL would ask for one at the terminal and wait.
                    lambda: self.load_cert_chain(self.certfile or "", self.keyfile, password=lambda: password),
                )

    def _has_changed(self, path: str, missing_ok: bool) -> bool:
        try:
            found = Path(path).stat()
        except OSError as error:
            if missing_ok:
                return False
            problem = f"the TLS file can't be read: {error.strerror}"
        else:
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._stamps.get(path) == stamp:
                return False
            self._stamps[path] = stamp
            return True
        raise UnreadableSource(
            path, problem, "Put it there, or correct sslrootcert, sslcert, sslkey or ssl_ca of the URL"
        )

    def _guard(self, path: str, what: str, load: Any) -> None:
        try:
            load()
        except (ssl.SSLError, OSError, ValueError):
            self._stamps.pop(path, None)
        else:
            return
        raise UnreadableSource(
            path, f"holds no {what} in PEM form that can be read", "Put them there; an encrypted key needs sslpassword"
        )

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`, after reading again the files that have changed."""
        self._load_files(missing_ok=False)
        return super().wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As `ssl.SSLContext.wrap_socket`, after reading again the files that have changed."""
        self._load_files(missing_ok=False)
        return super().wrap_socket(*args, **kwargs)

    def _identity(self) -> tuple[object, ...]:
        return (self.verify, self.cafile, self.capath, self.certfile, self.keyfile, self.crlfile, self._key_password)

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, TlsContext) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        files = {
            "cafile": self.cafile,
            "capath": self.capath,
            "certfile": self.certfile,
            "keyfile": self.keyfile,
            "crlfile": self.crlfile,
        }
        return "".join(
            [f"TlsContext(verify={self.verify!r}", *(f", {name}={path!r}" for name, path in files.items() if path), ")"]
        )
