"""The viewer's script as it lies in the package, verified before it goes into a page."""

from __future__ import annotations

import base64
import gzip
import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from accelqsm.errors import InputError

RECORD = "niivue.toml"


@dataclass(frozen=True)
class Bundle:
    """A script that comes from elsewhere.

    Attributes:
        name, version, licence: what it is.
        packed: the script as the package holds it, gzip.
        sha256: checksum of the unpacked script, hexadecimal.
    """

    name: str
    version: str
    licence: str
    packed: bytes
    sha256: str

    @property
    def policy_source(self) -> str:
        """The source expression with which a content security policy allows this script alone."""
        return policy_source(bytes.fromhex(self.sha256))


@cache
def viewer_bundle() -> Bundle:
    """NiiVue, once its checksums are verified."""
    return read_bundle(resources.files("accelqsm.reports.page").joinpath("vendor"))


def read_bundle(folder: Traversable) -> Bundle:
    """Read the script that ``niivue.toml`` in ``folder`` describes.

    Raises:
        InputError: a script that is not there, or whose SHA-256 is not the one recorded.
    """
    record = tomllib.loads(folder.joinpath(RECORD).read_text("utf-8"))
    file = folder.joinpath(record["file"])
    if not file.is_file():
        raise InputError(f"{file}: no such file; install the package again")
    packed = file.read_bytes()
    _verify(str(file), packed, record["sha256"])
    _verify(f"{file} (unpacked)", gzip.decompress(packed), record["script_sha256"])
    return Bundle(
        record["name"], record["version"], record["licence"], packed, record["script_sha256"]
    )


def policy_source(digest: bytes) -> str:
    """A SHA-256 digest as a source expression of a content security policy."""
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _verify(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InputError(f"{name}: expected SHA-256 {expected}, found {found}")
