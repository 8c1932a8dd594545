"""Settings as fields of frozen records, with help text, unit, range and default.

The command line, settings files (TOML) and Python use the same field, the only place that
defines its default and range.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Protocol

from accelqsm.errors import InputError

KEY = "accelqsm"
OWN_SETTINGS = "_settings"
"""Suffix of the field with a method's settings, such as ``background_settings``."""


class Offered(Protocol):
    """Interface of a registry row, as used by settings."""

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...

    @property
    def settings(self) -> type[Settings]: ...


class Offers(Protocol):
    """Interface of a registry, as used by settings."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[Offered]: ...

    def __contains__(self, name: object) -> bool: ...

    def __getitem__(self, name: str) -> Offered: ...


@dataclass(frozen=True)
class Setting:
    """Description of a settings field.

    Attributes:
        help: one line for the command line and the documentation.
        unit: unit of the value.
        above, least, below, most: range; open with ``above`` and ``below``.
        choices: allowed strings.
        registry: registry of allowed methods, whose settings become part of the record.
        flag: command-line flag, where it differs from the name of the field.
        metavar: placeholder of the value in help, or of each of several values.
        words: function that converts repeated strings of the command line to the value.
        aliases: alias -> value, for further accepted strings.
        said: phrase of the methods text where it is on.
        citations: keys of its sources, which the methods text then cites.
        former: further accepted names of the field, in files and as flags.
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
    metavar: str | tuple[str, ...] = ""
    words: Callable[[Sequence[str]], Any] | None = None
    aliases: Mapping[str, str] | None = None
    said: str = ""
    citations: tuple[str, ...] = ()
    former: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[str, ...]:
        """Allowed strings or names of methods."""
        return self.choices if self.registry is None else self.registry.names

    @property
    def range_text(self) -> str:
        """Text of the range; empty without one."""
        low = "" if self.above is None else f"above {self.above:g}"
        low = low if self.least is None else f"{self.least:g}"
        if self.below is not None:
            low = f"{low} or more" if self.least is not None else low
            return f"{low} and below {self.below:g}" if low else f"below {self.below:g}"
        if self.most is not None:
            return f"{low} to {self.most:g}" if low else f"at most {self.most:g}"
        return f"{low} or more" if self.least is not None else low

    def check(self, name: str, value: Any) -> None:
        """Check that a value is allowed and in range.

        Raises:
            InputError: with the name, what is expected, and the value found.
        """
        values = value.values() if isinstance(value, Mapping) else value
        for one in values if isinstance(value, tuple | Mapping) else (value,):
            if isinstance(one, str) and self.offered and not self._offers(one):
                raise InputError(f"{name}: expected {one_of(self.offered)}, found '{one}'")
            if is_kind(one, float) and not self._in(one):
                expected = f"{self.range_text or 'a finite number'} {self.unit}".rstrip()
                raise InputError(f"{name}: expected {expected}, found {short(one)}")

    def _offers(self, word: str) -> bool:
        known = (*self.offered, *(self.aliases or ()))
        return word in known or (self.registry is not None and word in self.registry)

    def _in(self, number: float) -> bool:
        return not (
            not -math.inf < number < math.inf
            or (self.above is not None and not number > self.above)
            or (self.least is not None and not number >= self.least)
            or (self.below is not None and not number < self.below)
            or (self.most is not None and not number <= self.most)
        )


def setting(default: Any = MISSING, *, help: str, **known: Any) -> Any:
    """Field of a ``Settings`` record; ``known`` are the attributes of ``Setting``."""
    made = Setting(help=help, **known)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={KEY: made})
    return field(default=default, metadata={KEY: made})


CHOSEN: Any = None
"""Default of a field with the settings of a method: the defaults of that method."""


@dataclass(frozen=True)
class Settings:
    """Base class of frozen settings records with fields from ``setting``, checked on creation.

    Attributes:
        FORMER: further accepted key -> the method and the field of its settings that it sets.

    Raises:
        InputError: a value out of range, or settings of another method than the chosen one.
    """

    FORMER: ClassVar[Mapping[str, tuple[str, str]]] = {}

    @property
    def idle(self) -> frozenset[str]:
        """Names of the switches that have nothing to do with the other values as they are."""
        return frozenset()

    def acts(self, switch: str) -> bool:
        """Whether a switch is on and has something to do."""
        return bool(getattr(self, switch)) and switch not in self.idle

    def __post_init__(self) -> None:
        for name, known in settings_in(type(self)).items():
            value, kind = getattr(self, name), kinds(type(self))[name]
            if value is not None and not is_kind(value, kind):
                raise InputError(f"{name}: expected {kind_text(kind)}, found {value!r}")
            if known.aliases and value in known.aliases:
                object.__setattr__(self, name, known.aliases[value])
                value = getattr(self, name)
            if value is not None:
                known.check(name, value)
            if known.registry is not None:
                object.__setattr__(self, name, known.registry[value].name)
                self._complete(name, known.registry[value])

    def _complete(self, name: str, row: Offered) -> None:
        """Fill in the default settings of a chosen method if none are given."""
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
    """Settings of a method without any."""


def settings_in(record: type[Settings]) -> dict[str, Setting]:
    """Field name -> setting, of the fields that are values (not nested records)."""
    return {
        f.name: f.metadata[KEY]
        for f in fields(record)
        if KEY in f.metadata and not _is_record(f, record)
    }


def kinds(record: type[Settings]) -> dict[str, Any]:
    """Field name -> type without ``None``."""
    return {name: _without_none(hint) for name, hint in _hints(record).items()}


def default_of(record: type[Settings], name: str) -> Any:
    """Default of a field; ``MISSING`` where a value is required."""
    found = next(f for f in fields(record) if f.name == name)
    if found.default_factory is not MISSING:
        return found.default_factory()
    return found.default


def nested(record: type[Settings]) -> dict[str, type[Settings]]:
    """Field name -> class, of the fields that are nested records."""
    own = {f.name for f in fields(record)}
    return {
        name: kind
        for name, kind in kinds(record).items()
        if name in own
        and isinstance(kind, type)
        and issubclass(kind, Settings)
        and kind is not Settings
    }


def choices_of(record: type[Settings]) -> Iterator[tuple[str, Offered]]:
    """Iterate over (field name, row) of all methods with settings of their own."""
    for name, known in settings_in(record).items():
        if known.registry is not None and name + OWN_SETTINGS in kinds(record):
            for row in known.registry:
                if fields(row.settings):
                    yield name, row


def is_kind(value: Any, kind: Any) -> bool:
    """Whether a value has the type of its field; a whole number is also a number."""
    origin = typing.get_origin(kind) or kind
    if origin is tuple:
        item, *rest = typing.get_args(kind)
        if not isinstance(value, tuple) or (... not in rest and len(value) != 1 + len(rest)):
            return False
        return all(is_kind(one, item) for one in value)
    if origin is Mapping:
        item = typing.get_args(kind)[1]
        return isinstance(value, Mapping) and all(is_kind(one, item) for one in value.values())
    known: dict[Any, Any] = {float: Real, int: Integral, Path: str | Path}
    is_flag = isinstance(value, bool)
    return isinstance(value, known.get(origin, origin)) and is_flag == (origin is bool)


def kind_text(kind: Any) -> str:
    """Words for the type of a field."""
    if typing.get_origin(kind) is tuple:
        return f"a list such as {typing.get_args(kind)[0].__name__}s"
    texts = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return texts.get(kind, "a table")


def short(number: float) -> str:
    """A number in few digits; those of a whole one that no float holds are counted."""
    try:
        return f"{float(number):g}"
    except OverflowError:
        return "a whole number of more than 300 digits"


def one_of(names: Iterable[str]) -> str:
    """Join names as ``a, b or c``."""
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
