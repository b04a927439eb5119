"""check_http and check_disk, which need no server of a database."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from svc_infra.health import Check, CheckResult, HealthRegistry, check_disk, check_http


async def result_of(check: Check, timeout: float = 5) -> CheckResult:  # noqa: ASYNC109
    registry = HealthRegistry()
    registry.add("it", check, timeout=timeout)
    return (await registry.run()).checks["it"]


@pytest.fixture
def web() -> Iterator[str]:
    """A web server whose paths are the status codes that it answers; /hang never does; /auth wants u:p."""
    release = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/hang":
                release.wait(20)
                return
            status = int(self.path[1:4]) if self.path[1:4].isdigit() else 200
            if self.path == "/auth":
                right = "Basic " + base64.b64encode(b"u:p@ss").decode()
                status = 200 if self.headers.get("Authorization") == right else 401
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        release.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/200", "healthy", None),
        ("/204?x=1", "healthy", None),
        ("/302", "healthy", None),
        ("/401", "unhealthy", "auth"),
        ("/404", "unhealthy", "failed"),
        ("/500", "unhealthy", "failed"),
        ("/503", "unhealthy", "overloaded"),
    ],
)
async def test_the_status_of_an_answer_decides(web: str, path: str, status: str, reason: str | None) -> None:
    """And is the measured value."""
    result = await result_of(check_http(web + path))
    assert (result.status, result.reason) == (status, reason)
    assert result.value == float(path[1:4])


async def test_the_expected_status_and_method_can_be_chosen(web: str) -> None:
    """A service may answer 404 at its root and be well."""
    assert (await result_of(check_http(web + "/404", expected_status=[404], method="HEAD"))).healthy


async def test_credentials_in_the_address_are_sent_and_never_shown(web: str) -> None:
    """Percent-encoded, as URLs want them."""
    assert (await result_of(check_http(web.replace("://", "://u:p%40ss@") + "/auth"))).healthy
    result = await result_of(check_http(web.replace("://", "://u:s3cret@") + "/auth"))
    assert result.reason == "auth"
    assert "s3cret" not in result.detail


async def test_a_service_that_never_answers_is_given_up(web: str) -> None:
    """By the check's timeout, while the thread still waits."""
    assert (await result_of(check_http(web + "/hang"), timeout=0.2)).reason == "timeout"


@pytest.mark.parametrize("url", [None, "", "ftp://h/", "h:80", "http://"])
async def test_an_address_that_is_none_is_a_configuration_failure(url: str | None) -> None:
    """Waiting does not mend it."""
    assert (await result_of(check_http(url))).reason == "configuration"


async def test_nobody_listening_and_nobody_known_are_told_apart(unused_tcp_port: int) -> None:
    """Refused, and no such name; https against plain http is TLS."""
    assert (await result_of(check_http(f"http://127.0.0.1:{unused_tcp_port}/"))).reason == "refused"
    assert (await result_of(check_http("http://no-such-host.invalid/"))).reason == "dns"


async def test_https_to_a_plain_server_is_a_tls_failure(web: str) -> None:
    """Not merely "failed"."""
    assert (await result_of(check_http(web.replace("http://", "https://")))).reason == "tls"


async def test_the_space_left_is_measured(tmp_path: Path) -> None:
    """Healthy, degraded or unhealthy by the limits."""
    result = await result_of(check_disk(tmp_path, min_free_percent=0, warn_free_percent=0))
    assert (result.status, result.unit) == ("healthy", "percent")
    assert result.value is not None
    assert 0 <= result.value <= 100
    result = await result_of(check_disk(tmp_path, min_free_percent=0, warn_free_percent=100))
    assert (result.status, result.reason) == ("degraded", "threshold")
    result = await result_of(check_disk(tmp_path, min_free_bytes=2**62))
    assert (result.status, result.reason) == ("unhealthy", "threshold")


async def test_a_path_that_does_not_exist_is_missing(tmp_path: Path) -> None:
    """A mount that is gone."""
    assert (await result_of(check_disk(tmp_path / "nowhere"))).reason == "missing"


def test_limits_that_contradict_one_another_are_refused() -> None:
    """At the call, not at the first check."""
    with pytest.raises(ValueError, match="min_free_percent"):
        check_disk("/", min_free_percent=20, warn_free_percent=10)
