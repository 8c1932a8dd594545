"""Third-party script of the viewer, with verification of its checksum."""

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
    """A third-party script.

    Attributes:
        name, version, licence: identification of the script.
        packed: the gzip-compressed script.
        sha256: checksum of the unpacked script, hexadecimal.
    """

    name: str
    version: str
    licence: str
    packed: bytes
    sha256: str

    @property
    def policy_source(self) -> str:
        """Source expression of a content security policy that allows only this script."""
        return policy_source(bytes.fromhex(self.sha256))


@cache
def viewer_bundle() -> Bundle:
    """NiiVue, with verified checksums."""
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
    """Source expression of a content security policy for a SHA-256 digest."""
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _verify(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InputError(f"{name}: expected SHA-256 {expected}, found {found}")
