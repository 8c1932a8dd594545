"""How every result is saved: into a folder, whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from accelqsm.results.folder import results_folder


class SavedResult(ABC):
    """A result that is written into a folder, the settings last."""

    @property
    @abstractmethod
    def owner(self) -> str:
        """Command whose results these are."""

    @abstractmethod
    def write(self, out: Path) -> None:
        """Write into a folder without results; the settings last."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write all files of the result and its ``settings.toml``, whole or not at all.

        Args:
            folder: for these files; others that lie there stay.
            overwrite: replace all results that an earlier run left there.

        Returns:
            The folder.

        Raises:
            InputError: a folder that holds results, is in use or cannot be written.
        """
        with results_folder(folder, self.owner, overwrite=overwrite) as out:
            self.write(out)
        return Path(folder)
