"""The JSON that `svc-infra sql VERB --json` answers with: a schema for each verb, made from the same classes.

Run as a program it writes the page of the documentation, `docs/guide/migrations-json.md`, to stdout.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import svc_infra.db.sql.core as core

__all__ = ["ANSWERS", "Seconds", "answer_schema", "write_page"]


@dataclass(frozen=True)
class Seconds:
    """How long it took.

    Attributes:
        seconds: Until the database answered.
    """

    seconds: float


_INTRODUCTION = """\
# JSON answers of `svc-infra sql`

Every verb that reads takes `--json` and answers on stdout with one JSON document; notes and errors go to stderr. The
exit code is the same as without. `svc_infra.migrate.answers.answer_schema(verb)` returns the JSON Schema of an answer.
This page is made from the code, by `python -m svc_infra.migrate.answers`.

"""

ANSWERS: dict[str, object] = {
    "branches": list[core.Revision],
    "check": core.CheckResult,
    "current": list[core.Revision],
    "diagram": list[core.DescribedTable],
    "doctor": list[core.Examination],
    "graph": list[core.Revision],
    "heads": list[core.Revision],
    "history": list[core.Revision],
    "lint": list[core.Finding],
    "list-templates": list[core.Template],
    "merge": core.Revision,
    "ping": Seconds,
    "revision": core.Revision | None,
    "setup-and-migrate": core.SetupResult,
    "show": list[core.Revision],
    "status": core.Status,
    "wait": Seconds,
}
"""What each verb that takes `--json` answers."""


def answer_schema(verb: str) -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a verb's answer.

    Raises:
        KeyError: The verb has no `--json`.
    """
    from pydantic import TypeAdapter

    adapter: TypeAdapter[object] = TypeAdapter(ANSWERS[verb])  # type: ignore[arg-type]
    schema = adapter.json_schema(mode="serialization")
    for definition in (schema, *schema.get("$defs", {}).values()):
        if definition.get("type") == "object":
            definition["additionalProperties"] = False
            definition["required"] = list(definition["properties"])
            definition["description"] = str(definition.get("description", "")).partition("\n")[0]
    return schema


def write_page(stream: TextIO) -> None:
    """Write the page of the documentation, in Markdown."""
    stream.write(_INTRODUCTION)
    objects: dict[str, Mapping[str, Any]] = {}
    stream.write("| Verb | Answer |\n|---|---|\n")
    for verb in sorted(ANSWERS):
        schema = _loose(answer_schema(verb))
        objects.update(schema.get("$defs", {}))
        if schema.get("type") == "object":
            objects[str(schema["title"])] = schema
        stream.write(f"| `{verb}` | {_words(schema)} |\n")
    for name in sorted(objects):
        stream.write(f"\n## {name}\n\n{objects[name]['description']}\n\n| Field | JSON | |\n|---|---|---|\n")
        meanings = _meanings(name)
        stream.writelines(
            f"| `{field}` | {_words(definition)} | {meanings.get(field, '')} |\n"
            for field, definition in objects[name]["properties"].items()
        )


def _loose(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Look at JSON as a value whose types are not known."""
    return schema


def _words(schema: Mapping[str, Any]) -> str:
    """Write a schema in a few words, as "array of Revision"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_words(item) for item in schema["anyOf"])
    if schema.get("type") == "array":
        return f"array of {_words(schema['items'])}"
    return str(schema["title"] if schema.get("type") == "object" else schema["type"])


def _meanings(name: str) -> dict[str, str]:
    """Read what the docstring of a class says of its attributes."""
    text = inspect.getdoc(globals().get(name) or getattr(core, name)) or ""
    _, _, attributes = text.partition("Attributes:\n")
    return {
        match[1]: " ".join(match[2].split())
        for match in re.finditer(r"^    (\w+): ((?:.*\n?)(?:^     +.*\n?)*)", attributes, re.MULTILINE)
    }


if __name__ == "__main__":
    write_page(sys.stdout)
