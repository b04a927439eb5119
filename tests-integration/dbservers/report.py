"""Which databases a test run covered, and which it didn't and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

__all__ = ["Coverage", "Entry"]


@dataclass
class Entry:
    """What is known of one kind of server."""

    tests: int = 0
    version: str = ""
    origin: str = ""
    missing: str = ""


@dataclass
class Coverage:
    """The servers of one run; those of a parallel run's workers are added up by `merge`."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def want(self, kind: str) -> None:
        """A test that needs *kind* is about to run."""
        self._entry(kind).tests += 1

    def have(self, kind: str, version: str, origin: str) -> None:
        """*kind* runs."""
        entry = self._entry(kind)
        entry.version, entry.origin = version, origin

    def lack(self, kind: str, reason: str) -> None:
        """*kind* can't be had."""
        self._entry(kind).missing = reason

    def merge(self, other: dict[str, dict[str, object]]) -> None:
        """Add what `as_dict` of a worker gave."""
        for kind, values in other.items():
            entry = self._entry(kind)
            entry.tests += int(str(values["tests"]))
            entry.version = str(values["version"]) or entry.version
            entry.origin = str(values["origin"]) or entry.origin
            entry.missing = str(values["missing"]) or entry.missing

    def as_dict(self) -> dict[str, dict[str, object]]:
        """The entries in types that cross a process border."""
        return {kind: asdict(entry) for kind, entry in self.entries.items()}

    def lines(self, kinds: list[str]) -> list[str]:
        """Describe the run, given all *kinds* that there are; empty when no test used any."""
        if not self.entries:
            return []
        covered, missing = [], []
        for kind in kinds:
            entry = self.entries.get(kind)
            if entry and entry.origin:
                covered.append(f"  {kind:<24} {entry.version:<28} {entry.origin:<12} {_tests(entry.tests)}")
            elif entry and entry.missing:
                skipped = f"{_tests(entry.tests)} skipped: " if entry.tests else ""
                missing.append(f"  {kind:<24} {skipped}{entry.missing}")
        unused = [kind for kind in kinds if kind not in self.entries]
        return [
            *(["covered:", *covered] if covered else []),
            *(["not covered:", *missing] if missing else []),
            *([f"not used by the selected tests: {', '.join(unused)}"] if unused else []),
        ]

    def _entry(self, kind: str) -> Entry:
        return self.entries.setdefault(kind, Entry())


def _tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"
