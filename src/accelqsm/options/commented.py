"""Settings as a TOML file that explains itself: help text, range and default of every field."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import fields
from typing import Any

from accelqsm.options.setting import (
    OWN_SETTINGS,
    Setting,
    Settings,
    default_of,
    nested,
    one_of,
    settings_in,
)
from accelqsm.options.table import simple

WIDTH = 96


def commented(settings: Settings, section: str, *, without: Container[str] = ()) -> str:
    """TOML table of a record, in which every field is told and those at their default are comments.

    Args:
        settings: the record.
        section: name of the table, such as "qsm".
        without: nested tables that are left out.
    """
    return "\n".join(_table(settings, section, without)) + "\n"


def _table(settings: Settings, section: str, without: Container[str] = ()) -> Iterator[str]:
    kind = type(settings)
    yield f"[{section}]"
    inner: dict[str, Settings] = {
        name: getattr(settings, name) for name in nested(kind) if name not in without
    }
    for name, known in settings_in(kind).items():
        value, default = getattr(settings, name), default_of(kind, name)
        yield from _comment(known)
        yield _line(name, value, is_default=value == default)
        own = getattr(settings, name + OWN_SETTINGS, None)
        if own is not None and fields(own):
            inner[value] = own
    for name, record in inner.items():
        yield ""
        yield from _table(record, f"{section}.{name}")


def _comment(known: Setting) -> Iterator[str]:
    if known.registry is not None or known.choices:
        within = one_of(known.offered)
    else:
        within = f"{known.range_text} {known.unit}".strip()
    line = "#"
    for word in (f"{known.help} ({within})" if within else known.help).split():
        if len(line) + len(word) >= WIDTH:
            yield line
            line = "#"
        line = f"{line} {word}"
    yield line


def _line(name: str, value: Any, *, is_default: bool) -> str:
    import tomli_w

    if value is None:
        return f"# {name} ="
    text = tomli_w.dumps({name: simple(value)}).rstrip("\n")
    if text.startswith("["):  # a table of its own, such as margins by nucleus
        text = f"{name} = {{ {', '.join(_pairs(value))} }}"
    text = " ".join(part.strip() for part in text.splitlines())
    return f"# {text}" if is_default else text


def _pairs(value: Any) -> Iterator[str]:
    import tomli_w

    for key, one in value.items():
        yield tomli_w.dumps({key: simple(one)}).strip()
