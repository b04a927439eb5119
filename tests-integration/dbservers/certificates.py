"""TLS certificates for servers: one authority that clients trust and one that they must not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dbservers.workspace import Workspace

__all__ = ["Certificates"]


@dataclass(frozen=True)
class Certificates:
    """Files of a server certificate for `host_name` and of a client certificate.

    Attributes:
        ca_path: The authority that signed both.
        wrong_ca_path: An authority that signed neither.
        certificate_path: The server's certificate.
        key_path: The server's key, readable by the servers' account alone.
        client_certificate_path: A client's certificate, common name ``certuser``.
        client_key_path: Its key, readable by the tests' user alone.
        host_name: The name in the server certificate; ``127.0.0.1`` (`wrong_host_name`) reaches it but isn't in it.
    """

    ca_path: Path
    wrong_ca_path: Path
    certificate_path: Path
    key_path: Path
    client_certificate_path: Path
    client_key_path: Path
    host_name: str = "localhost"
    wrong_host_name: str = "127.0.0.1"

    @classmethod
    def make(cls, workspace: Workspace) -> Certificates:
        """Issue all of them into a new folder of *workspace*."""
        import trustme

        folder = workspace.folder("tls")
        folder.chmod(0o755)
        authority, stranger = trustme.CA(), trustme.CA()
        server = authority.issue_cert(cls.host_name, common_name=cls.host_name)
        client = authority.issue_cert("client@example.org", common_name="certuser")
        made = cls(
            ca_path=folder / "ca.pem",
            wrong_ca_path=folder / "wrong-ca.pem",
            certificate_path=folder / "server.pem",
            key_path=folder / "server-key.pem",
            client_certificate_path=folder / "client.pem",
            client_key_path=folder / "client-key.pem",
        )
        authority.cert_pem.write_to_path(made.ca_path)
        stranger.cert_pem.write_to_path(made.wrong_ca_path)
        server.cert_chain_pems[0].write_to_path(made.certificate_path)
        workspace.write(made.key_path, server.private_key_pem.bytes().decode())
        client.cert_chain_pems[0].write_to_path(made.client_certificate_path)
        # libpq refuses a key that others can read.
        made.client_key_path.touch(mode=0o600)
        client.private_key_pem.write_to_path(made.client_key_path)
        return made
