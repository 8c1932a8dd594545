"""A setting is a field of a frozen record, with its help, unit, range and default.

The command line, settings files (TOML) and Python read the same field; nothing else states its
default or its range.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Protocol

from accelqsm.errors import InputError

KEY = "accelqsm"
OWN_SETTINGS = "_settings"
"""``background_settings`` holds the settings of the choice that ``background`` names."""


class Offered(Protocol):
    """A row of a registry, as far as settings know it."""

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...

    @property
    def settings(self) -> type[Settings]: ...


class Offers(Protocol):
    """A registry, as far as settings know it."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[Offered]: ...

    def __contains__(self, name: object) -> bool: ...

    def __getitem__(self, name: str) -> Offered: ...


@dataclass(frozen=True)
class Setting:
    """What is known of a field.

    Attributes:
        help: one line for the command line and the documentation.
        unit: of the value.
        above, least, below, most: range; open with ``above`` and ``below``.
        choices: the words that can be chosen.
        registry: of the rows that can be chosen; their settings become part of the record.
        flag: on the command line, where it is not the field's name.
        metavar: how the value is shown in help.
        words: on the command line, read the value from this many or repeated words.
        aliases: old word -> word, for values that earlier versions wrote.
        said: words of the methods text where it is on.
        former: names of the field in earlier versions, in files and as flags.
    """

    help: str
    unit: str = ""
    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    registry: Offers | None = None
    flag: str = ""
    metavar: str = ""
    words: Callable[[Sequence[str]], Any] | None = None
    aliases: Mapping[str, str] | None = None
    said: str = ""
    former: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[str, ...]:
        """The words that can be chosen."""
        return self.choices if self.registry is None else self.registry.names

    @property
    def range_text(self) -> str:
        """The range in words; empty without one."""
        low = "" if self.above is None else f"above {self.above:g}"
        low = low if self.least is None else f"{self.least:g}"
        if self.below is not None:
            low = f"{low} or more" if self.least is not None else low
            return f"{low} and below {self.below:g}" if low else f"below {self.below:g}"
        if self.most is not None:
            return f"{low} to {self.most:g}" if low else f"at most {self.most:g}"
        return f"{low} or more" if self.least is not None else low

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that is not offered or out of range.

        Raises:
            InputError: with the name, what is expected, and the value found.
        """
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, str) and self.offered and not self._offers(one):
                raise InputError(f"{name}: expected {one_of(self.offered)}, found '{one}'")
            if isinstance(one, int | float) and not isinstance(one, bool) and not self._in(one):
                unit = f" {self.unit}" if self.unit else ""
                raise InputError(f"{name}: expected {self.range_text}{unit}, found {one:g}")

    def _offers(self, word: str) -> bool:
        known = (*self.offered, *(self.aliases or ()))
        return word in known or (self.registry is not None and word in self.registry)

    def _in(self, number: float) -> bool:
        return not (
            math.isnan(number)
            or (self.above is not None and not number > self.above)
            or (self.least is not None and not number >= self.least)
            or (self.below is not None and not number < self.below)
            or (self.most is not None and not number <= self.most)
        )


def setting(default: Any = MISSING, *, help: str, **known: Any) -> Any:
    """A field of a :class:`Settings` record; ``known`` are the attributes of :class:`Setting`."""
    made = Setting(help=help, **known)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={KEY: made})
    return field(default=default, metadata={KEY: made})


CHOSEN: Any = None
"""Default of a field that holds the settings of a choice: those of its row."""

BESIDE: Mapping[str, Any] = {"accelqsm-beside": True}
"""Metadata of a field that is a record whose table stands beside that of its owner, not in it."""


@dataclass(frozen=True)
class Settings:
    """A frozen record whose fields were made by :func:`setting`; checked when it is made.

    Attributes:
        FORMER: keys of earlier settings files -> the choice, and the field of its settings, that
            they are now.

    Raises:
        InputError: a value out of range, or settings of another choice than the one made.
    """

    FORMER: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def __post_init__(self) -> None:
        for name, known in settings_in(type(self)).items():
            value = getattr(self, name)
            if known.aliases and value in known.aliases:
                object.__setattr__(self, name, known.aliases[value])
                value = getattr(self, name)
            if value is not None:
                known.check(name, value)
            if known.registry is not None:
                object.__setattr__(self, name, known.registry[value].name)
                self._complete(name, known.registry[value])

    def _complete(self, name: str, row: Offered) -> None:
        """Put the default settings of a choice where none were given."""
        own = name + OWN_SETTINGS
        if not hasattr(type(self), own):
            return
        given = getattr(self, own)
        if given is None:
            object.__setattr__(self, own, row.settings())
        elif not isinstance(given, row.settings):
            raise InputError(
                f"{own}: expected {row.settings.__name__} for {name} {row.name}, "
                f"found {type(given).__name__}"
            )


_hints: Callable[[Any], dict[str, Any]] = cache(typing.get_type_hints)


@dataclass(frozen=True)
class NoSettings(Settings):
    """Of a choice about which nothing can be chosen."""


def settings_in(record: type[Settings]) -> dict[str, Setting]:
    """Field name -> setting, of the fields that are values (not records of their own)."""
    return {
        f.name: f.metadata[KEY]
        for f in fields(record)
        if KEY in f.metadata and not _is_record(f, record)
    }


def kinds(record: type[Settings]) -> dict[str, Any]:
    """Field name -> type, without ``None``."""
    return {name: _without_none(hint) for name, hint in _hints(record).items()}


def default_of(record: type[Settings], name: str) -> Any:
    """The default of a field; ``MISSING`` where one must be given."""
    found = next(f for f in fields(record) if f.name == name)
    if found.default_factory is not MISSING:
        return found.default_factory()
    return found.default


def nested(record: type[Settings]) -> dict[str, type[Settings]]:
    """Field name -> record, of the fields that are records by themselves."""
    own = {f.name for f in fields(record) if not BESIDE.keys() <= f.metadata.keys()}
    return {
        name: kind
        for name, kind in kinds(record).items()
        if name in own
        and isinstance(kind, type)
        and issubclass(kind, Settings)
        and kind is not Settings
    }


def choices_of(record: type[Settings]) -> Iterator[tuple[str, Offered]]:
    """Field name and row, of every row that has settings of its own."""
    for name, known in settings_in(record).items():
        if known.registry is not None and name + OWN_SETTINGS in kinds(record):
            for row in known.registry:
                if fields(row.settings):
                    yield name, row


def one_of(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _is_record(found: Field[Any], record: type[Settings]) -> bool:
    kind = kinds(record)[found.name]
    return isinstance(kind, type) and issubclass(kind, Settings)


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        left = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return left[0] if len(left) == 1 else left
    return hint
