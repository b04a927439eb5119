"""Reports as HTTP probe answers, application/health+json and Prometheus text."""

from __future__ import annotations

import json
import re

import pytest

from svc_infra.health import CheckFailed, HealthRegistry, HealthReport, Outcome
from svc_infra.health.formats import to_health_json, to_probe, to_prometheus


async def report(*, critical_down: bool = False, other_down: bool = False, draining: bool = False) -> HealthReport:
    """A report over a database, a cache and a disk."""

    async def down() -> None:
        raise CheckFailed("refused", "db.internal:5432 refused app")

    async def up() -> None:
        pass

    registry = HealthRegistry()
    registry.add("database", down if critical_down else up)
    registry.add("cache", down if other_down else up, critical=False)
    registry.add("disk", lambda: Outcome(value=42.5, unit="percent"))
    if draining:
        registry.start_draining()
    return await registry.run()


@pytest.mark.parametrize(
    ("states", "code", "word"),
    [
        ({}, 200, "pass"),
        ({"other_down": True}, 200, "warn"),
        ({"critical_down": True}, 503, "fail"),
        ({"draining": True}, 503, "fail"),
    ],
)
async def test_the_probe_answers_by_status_code_and_says_the_same_in_its_body(
    states: dict[str, bool], code: int, word: str
) -> None:
    """Orchestrators read the code, people the body, and no cache keeps either."""
    response = to_probe(await report(**states))
    assert response.status_code == code
    assert json.loads(response.body)["status"] == word
    assert response.headers["content-type"] == "application/health+json"
    assert response.headers["cache-control"] == "no-store"


async def test_health_json_has_the_form_of_the_draft() -> None:
    """`checks` maps component:measurement to an array; `output` is absent for passed checks."""
    document = to_health_json(await report(critical_down=True), release="1.2.3")
    assert document["releaseId"] == "1.2.3"
    checks = document["checks"]
    assert isinstance(checks, dict)
    assert set(checks) == {"database:responseTime", "cache:responseTime", "disk:percent"}
    assert all(isinstance(entries, list) and len(entries) == 1 for entries in checks.values())
    database, disk = checks["database:responseTime"][0], checks["disk:percent"][0]
    assert (database["status"], database["output"]) == ("fail", "refused")
    assert disk["observedValue"] == 42.5
    assert "output" not in disk


async def test_texts_for_operators_are_shown_only_on_request() -> None:
    """They name hosts and users."""
    down = await report(critical_down=True)
    assert b"db.internal" not in to_probe(down).body
    assert b"db.internal" in to_probe(down, details=True).body


async def test_prometheus_text_is_well_formed() -> None:
    """Every sample line has a name with a TYPE before it, labels and a number."""
    text = to_prometheus(await report(critical_down=True))
    typed = set(re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE))
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    for line in samples:
        match = re.fullmatch(r'(\w+)(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.e+-]+', line)
        assert match, line
        assert match.group(1) in typed
    assert "svc_infra_health_up 0" in samples
    assert 'svc_infra_health_check_up{check="database",critical="true"} 0' in samples
    assert 'svc_infra_health_check_value{check="disk",unit="percent"} 42.5' in samples
    assert text.endswith("\n")
