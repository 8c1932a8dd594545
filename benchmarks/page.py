"""Parts of a Markdown page that a benchmark fills in, between a marker of its own and an end."""

from __future__ import annotations

import re
from collections.abc import Mapping

from accelqsm.errors import InputError

END = "<!-- end -->"
START = re.compile(r"<!-- (?:bench|results): [\w-]+ -->")


def filled(page: str, parts: Mapping[str, str], *, kind: str, source: str) -> str:
    """A page with what stands between ``<!-- KIND: NAME -->`` and ``<!-- end -->`` replaced.

    Args:
        page: text of the page; parts of other kinds stay as they are.
        parts: text by NAME.
        kind: of the parts.
        source: where a part was looked for, named in errors.

    Raises:
        InputError: a part that is not there, or that has no end in the page.
    """
    start = f"<!-- {kind}: "

    def part(found: re.Match[str]) -> str:
        if found[1] not in parts:
            raise InputError(f"{source}/{found[1]}.md: expected a part of the page, found none")
        own = parts[found[1]].rstrip("\n")
        return f"{start}{found[1]} -->\n{own}\n{END}\n"

    inside = rf"(?:(?!{START.pattern}).)*?"
    marked = re.compile(rf"{start}([\w-]+) -->\n{inside}{END}\n", re.DOTALL)
    text, n_parts = marked.subn(part, page)
    n_starts = page.count(start)
    if n_parts != n_starts or len(START.findall(page)) != page.count(END):
        raise InputError(f"page: expected {END} after each of {n_starts} parts, found {n_parts}")
    return text
