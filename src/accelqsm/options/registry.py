"""Registries of methods: name, function, settings, methods sentence and citations of each."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from string import Formatter
from typing import Any, Generic, TypeVar

from accelqsm.errors import InputError
from accelqsm.options.setting import NoSettings, Setting, Settings, one_of, settings_in
from accelqsm.options.table import plain


@dataclass(frozen=True)
class Choice:
    """A method for one step of the pipeline.

    Attributes:
        name: as on the command line, in settings files and in Python.
        function: ``module:name`` of the function that computes it, imported on first use.
        sentence: for the methods text; ``{field}`` stands for a value of its settings.
        citations: keys of the bibliography, or whole BibTeX entries, in the order of the sentence.
        settings: class of its settings.
        aliases: further accepted names.
    """

    name: str
    function: str
    sentence: str
    citations: tuple[str, ...] = ()
    settings: type[Settings] = NoSettings
    aliases: tuple[str, ...] = ()

    def load(self) -> Any:
        """Import and return the function (or class)."""
        return imported(self.function)

    def describe(self, settings: Settings | None = None) -> str:
        """Methods sentence with the values of ``settings`` (the defaults if absent)."""
        values = plain(settings or self.settings())
        shown = {name: _format_value(value) for name, value in values.items()}
        names = [name for _, name, _, _ in Formatter().parse(self.sentence) if name]
        return self.sentence.format(**{name: shown.get(name, "unknown") for name in names})


def imported(address: str) -> Any:
    """What ``module:name`` stands for."""
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)


def switched_on(settings: Settings | None, *, but: Collection[str] = ()) -> list[Setting]:
    """Switches of a settings record that are on and have a phrase in the methods text.

    Args:
        settings: the record; None has none.
        but: names of switches for which there was nothing to do, beside the idle ones.
    """
    if settings is None:
        return []
    known = settings_in(type(settings))
    return [s for name, s in known.items() if s.said and settings.acts(name) and name not in but]


Row = TypeVar("Row", bound=Choice)
LONGEST_NAME = 40
"""Characters of a name that a message repeats."""


class Rows(Generic[Row]):
    """Methods of one kind, found by name or alias; ``__iter__`` lists them.

    Attributes:
        kind: what a method is called in messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __iter__(self) -> Iterator[Row]:
        raise NotImplementedError

    def __contains__(self, name: object) -> bool:
        return any(name in (row.name, *row.aliases) for row in self)

    def __getitem__(self, name: str) -> Row:
        """Row of a name or alias.

        Raises:
            InputError: a name that no row has.
        """
        for row in self:
            if name in (row.name, *row.aliases):
                return row
        found = str(name)[:LONGEST_NAME]
        raise InputError(f"{self.kind}: expected {one_of(self.names)}, found '{found}'")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(row.name for row in self)


class Registry(Rows[Row]):
    """Registry of the methods of one kind, in the order in which they are listed."""

    def __init__(self, kind: str, rows: Iterable[Row]) -> None:
        super().__init__(kind)
        self._rows: dict[str, Row] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Add a method.

        Raises:
            InputError: a name that is taken.
        """
        for name in (row.name, *row.aliases):
            if any(name in (other.name, *other.aliases) for other in self):
                raise InputError(f"{self.kind}: expected a new name, found '{name}' again")
        self._rows[row.name] = row

    @contextmanager
    def with_row(self, row: Row) -> Iterator[None]:
        """Add a method for the duration of a ``with`` block."""
        self.add(row)
        try:
            yield
        finally:
            del self._rows[row.name]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())


def _format_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_format_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
