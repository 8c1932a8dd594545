"""Keys of steps: what their results depend on, as one checksum.

The key of a step is the SHA-256 of the contents of its inputs, its settings, the code and the
weights. It lies in the record of the step's results, which is written last and sealed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import accelqsm
from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.results.integrity.seal import sealed_files, sha256
from accelqsm.results.records import SETTINGS

SUMS = "sums.json"
Stamp = tuple[int, int, int]


class Sums:
    """SHA-256 of files, computed once as long as size and time of change stay.

    Attributes:
        folder: where known sums are kept, one file for each folder that sums are of.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, dict[str, tuple[Stamp, str]]] = {}

    def of(self, path: Path) -> str:
        """SHA-256 of a file, from what is known if it has not changed.

        Raises:
            InputError: no regular file.
        """
        try:
            real = path.resolve(strict=True)
            status = real.stat()
        except OSError:
            raise InputError(f"{path}: no such file") from None
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        known = self._of_folder(real.parent)
        if real.name in known and known[real.name][0] == stamp:
            return known[real.name][1]
        digest = sha256(real)
        known[real.name] = (stamp, digest)
        self._keep(real.parent)
        return digest

    def _of_folder(self, folder: Path) -> dict[str, tuple[Stamp, str]]:
        if folder not in self._known:
            try:
                stored = json.loads(self._file(folder).read_text(encoding="utf-8"))
                self._known[folder] = {
                    name: ((int(s[0]), int(s[1]), int(s[2])), str(digest))
                    for name, (s, digest) in stored.items()
                }
            except (OSError, ValueError, TypeError, AttributeError, IndexError):
                self._known[folder] = {}
        return self._known[folder]

    def _keep(self, folder: Path) -> None:
        if not self.folder.parents[1].is_dir():  # nothing is made for a plan
            return
        write_text(self._file(folder), json.dumps(self._known[folder], indent=0))

    def _file(self, folder: Path) -> Path:
        return self.folder / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:24]}.json"


def step_key(
    settings: Mapping[str, Any], inputs: Mapping[str, Any], weights: str, code: str
) -> str:
    """Key of a step.

    Args:
        settings: its settings.
        inputs: sums of all inputs, by role and name.
        weights: SHA-256 of the network's weights, or "".
        code: version of the code.
    """
    parts = {"settings": settings, "inputs": inputs, "weights": weights, "code": code}
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version() -> str:
    """Version of the package and SHA-256 of its source, which differs while it is worked on."""
    root = Path(accelqsm.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode())
        total.update(path.read_bytes())
    return f"{accelqsm.__version__}+{total.hexdigest()[:16]}"


def result_sums(folder: Path) -> dict[str, str] | None:
    """Sums of the files of a finished result by name, as its record tells; None without one.

    Raises:
        InputError: a record that was altered.
    """
    record = folder / SETTINGS
    return sealed_files(record) if record.is_file() else None


def intact(folder: Path, sums: Sums) -> bool:
    """Whether all files of a result are there, as its record tells."""
    try:
        named = result_sums(folder)
        return bool(named) and all(
            (folder / name).is_file() and sums.of(folder / name) == digest
            for name, digest in (named or {}).items()
        )
    except InputError:
        return False
