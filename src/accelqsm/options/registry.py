"""A choice is a row: its name, what it computes, its settings, its sentence and its citations."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from string import Formatter
from typing import Any, Generic, TypeVar

from accelqsm.errors import InputError
from accelqsm.options.setting import NoSettings, Settings, one_of, settings_in
from accelqsm.options.table import plain


@dataclass(frozen=True)
class Choice:
    """One way to do a step of the chain.

    Attributes:
        name: as on the command line, in settings files and in Python.
        function: ``module:name`` of what computes it, imported when it is used.
        sentence: for the methods text; ``{field}`` stands for a value of its settings.
        citations: keys of the bibliography, or whole BibTeX entries, in the order of the sentence.
        settings: record of what can be chosen about it.
        aliases: names that earlier versions used.
    """

    name: str
    function: str
    sentence: str
    citations: tuple[str, ...] = ()
    settings: type[Settings] = NoSettings
    aliases: tuple[str, ...] = ()

    def load(self) -> Any:
        """The function (or class) itself; its module is imported now."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)

    def described(self, settings: Settings | None = None) -> str:
        """The sentence with the values of ``settings`` (by default those of the record)."""
        values = plain(settings or self.settings())
        shown = {name: _shown(value) for name, value in values.items()}
        names = [name for _, name, _, _ in Formatter().parse(self.sentence) if name]
        return self.sentence.format(**{name: shown.get(name, "unknown") for name in names})


def said_of(settings: Settings | None) -> list[str]:
    """Words of the methods text for what is on in a record."""
    if settings is None:
        return []
    known = settings_in(type(settings))
    return [s.said for name, s in known.items() if s.said and getattr(settings, name)]


Row = TypeVar("Row", bound=Choice)


class Registry(Generic[Row]):
    """The rows of one kind of choice, in the order in which they are offered."""

    def __init__(self, kind: str, rows: Iterable[Row]) -> None:
        self.kind = kind
        self._rows: dict[str, Row] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Offer one more choice.

        Raises:
            InputError: a name that is taken.
        """
        for name in (row.name, *row.aliases):
            if any(name in (other.name, *other.aliases) for other in self):
                raise InputError(f"{self.kind}: expected a new name, found '{name}' again")
        self._rows[row.name] = row

    @contextmanager
    def with_row(self, row: Row) -> Iterator[None]:
        """Offer one more choice for the length of a block."""
        self.add(row)
        try:
            yield
        finally:
            del self._rows[row.name]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __contains__(self, name: object) -> bool:
        return any(name in (row.name, *row.aliases) for row in self)

    def __getitem__(self, name: str) -> Row:
        """The row of a name or alias.

        Raises:
            InputError: a name that no row has.
        """
        for row in self:
            if name in (row.name, *row.aliases):
                return row
        raise InputError(f"{self.kind}: expected {one_of(self.names)}, found '{name}'")

    @property
    def names(self) -> tuple[str, ...]:
        """The names on offer."""
        return tuple(self._rows)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
