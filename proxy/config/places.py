"""Where each path of one file stands, and what has been found wrong so far. Knows nothing of YAML or of the schema."""

from __future__ import annotations

from collections.abc import Collection

from proxy.config.faults import Fault, Finding, Path, display_path

Place = tuple[int, int]  #: line and column, both from 1

_ADDED = "it was found in the environment"


class Places:
    """One file being read."""

    def __init__(self, file: str) -> None:
        self.keys: dict[Path, Place] = {}
        self.values: dict[Path, Place] = {}
        self.added: Collection[Path] = ()  #: paths that are not in the file: providers and models that were detected
        self._file = file
        self._faults: set[Fault] = set()
        self._settled: set[Place] = set()

    def fault(self, place: Place, path: Path, message: str, hint: str = "", *, settles: bool = False) -> None:
        """Something is wrong at this place. If that settles it, nothing that follows from it is said of the place."""
        if place not in self._settled:
            self._faults.add(Fault(self._file, *place, display_path(path), message, hint))
        if settles:
            self._settled.add(place)

    def report(self, finding: Finding) -> None:
        """A fault that was found by its path."""
        place = self.place_of(finding.path, at_key=finding.at_key)
        self.fault(place, self._named(finding), finding.message, self._hint(finding))

    def warning(self, finding: Finding) -> Fault:
        """A warning, with its place."""
        place = self.place_of(finding.path, at_key=finding.at_key)
        return Fault(self._file, *place, display_path(self._named(finding)), finding.message, self._hint(finding))

    def place_of(self, path: Path, *, at_key: bool = False) -> Place:
        """Where a path stands; what is not in the file stands at the key of the nearest thing around it."""
        while path not in self.values and path:
            path, at_key = path[:-1], True
        if at_key and path in self.keys:
            return self.keys[path]
        return self.values.get(path, (1, 1))

    def faults(self) -> list[Fault]:
        """All that is wrong so far."""
        return sorted(self._faults)

    def _named(self, finding: Finding) -> Path:
        return finding.path if finding.named is None else finding.named

    def _hint(self, finding: Finding) -> str:
        return finding.hint or (_ADDED if finding.path[:2] in self.added else "")
