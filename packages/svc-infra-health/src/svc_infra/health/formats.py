"""Reports for machines: the answer to a probe, application/health+json, and Prometheus text.

Nothing here knows a web framework: a `ProbeResponse` is a status, headers and a body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from svc_infra.health.report import HealthReport, Status

__all__ = ["ProbeResponse", "to_health_json", "to_probe", "to_prometheus"]

# https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06#section-3.1
_WORDS: Mapping[Status, str] = {"healthy": "pass", "degraded": "warn", "unhealthy": "fail", "unknown": "fail"}


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    """What to answer to an HTTP probe, to GET and HEAD alike (HEAD without the body).

    Attributes:
        status_code: 200 for healthy and degraded, 503 otherwise.
        headers: Content type, and that no cache may keep the answer.
        body: The report as JSON.
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes


def to_probe(report: HealthReport, *, details: bool = False, release: str | None = None) -> ProbeResponse:
    """Return the HTTP answer for a report, in application/health+json.

    Kubernetes and load balancers look at the status code alone. A degraded service answers 200: it serves.

    Args:
        report: The report.
        details: Include the texts for operators. They name hosts and users: only behind authentication.
        release: The service's version, if it may be shown.
    """
    body = json.dumps(to_health_json(report, details=details, release=release), separators=(",", ":")).encode()
    headers = {"content-type": "application/health+json", "cache-control": "no-store"}
    return ProbeResponse(200 if report.healthy else 503, headers, body)


def to_health_json(report: HealthReport, *, details: bool = False, release: str | None = None) -> dict[str, object]:
    """Return the report in the form of draft-inadarei-api-health-check-06.

    `checks` maps `name:measurement` to an array of one object each; `output` holds the fixed word of the reason (with
    `details`, the text) and is left out for passed checks, as the draft asks.
    """
    checks: dict[str, list[dict[str, object]]] = {}
    for name, result in report.checks.items():
        entry: dict[str, object] = {
            "componentType": "component",
            "status": _WORDS[result.status],
            "time": result.checked_at.isoformat(),
        }
        if result.value is not None:
            measurement, entry["observedValue"] = result.unit or "value", result.value
            entry["observedUnit"] = result.unit
        else:
            measurement, entry["observedValue"] = "responseTime", round(result.duration_seconds * 1000, 3)
            entry["observedUnit"] = "ms"
        if result.status != "healthy":
            entry["output"] = result.detail if details and result.detail else result.reason
        checks[f"{name.replace(':', '_')}:{measurement}"] = [entry]
    document: dict[str, object] = {"status": _WORDS[report.status]}
    if release is not None:
        document["releaseId"] = release
    if report.draining:
        document["output"] = "draining"
    if checks:
        document["checks"] = checks
    return document


def to_prometheus(report: HealthReport, *, prefix: str = "svc_infra_health") -> str:
    """Return the report in Prometheus' text format (content type `text/plain; version=0.0.4`).

    https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    lines = [
        f"# HELP {prefix}_up Whether the service can serve (1) or not (0).",
        f"# TYPE {prefix}_up gauge",
        f"{prefix}_up {int(report.healthy)}",
        f"# HELP {prefix}_check_up Whether the dependency can be used (1) or not (0).",
        f"# TYPE {prefix}_check_up gauge",
    ]
    results = list(report.checks.values())
    for result in results:
        critical = "true" if result.critical else "false"
        lines.append(f'{prefix}_check_up{{check="{_label(result.name)}",critical="{critical}"}} {int(result.healthy)}')
    lines += [
        f"# HELP {prefix}_check_duration_seconds How long the check ran.",
        f"# TYPE {prefix}_check_duration_seconds gauge",
    ]
    lines += [
        f'{prefix}_check_duration_seconds{{check="{_label(result.name)}"}} {result.duration_seconds:.6f}'
        for result in results
    ]
    lines += [
        f"# HELP {prefix}_check_age_seconds How old the check's result is.",
        f"# TYPE {prefix}_check_age_seconds gauge",
    ]
    lines += [
        f'{prefix}_check_age_seconds{{check="{_label(result.name)}"}} {result.age_seconds:.3f}' for result in results
    ]
    measured = [result for result in results if result.value is not None]
    if measured:
        lines += [
            f"# HELP {prefix}_check_value What the check measured.",
            f"# TYPE {prefix}_check_value gauge",
        ]
        lines += [
            f'{prefix}_check_value{{check="{_label(result.name)}",unit="{_label(result.unit or "")}"}} {result.value:g}'
            for result in measured
        ]
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
