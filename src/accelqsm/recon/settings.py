"""Settings of a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass, field

from accelqsm.errors import InputError
from accelqsm.options.setting import (
    CHOSEN,
    Settings,
    default_of,
    nested,
    one_of,
    setting,
    settings_in,
)
from accelqsm.recon.method_settings import NetworkSettings, SensitivitySettings
from accelqsm.recon.registry import RECONSTRUCTIONS


@dataclass(frozen=True)
class ReconSettings(Settings):
    """Method and settings of a reconstruction, in simple types that a TOML file can hold.

    Attributes:
        sensitivities: settings of the sensitivities, for methods with a joint image.
        network: settings of the network, for network methods.

    Raises:
        InputError: besides values out of range, settings that the method does not use.
    """

    method: str = setting(registry=RECONSTRUCTIONS, help="reconstruction method")
    method_settings: Settings | None = CHOSEN
    sensitivities: SensitivitySettings = field(default_factory=SensitivitySettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        for table in nested(type(self)):
            if table not in RECONSTRUCTIONS[self.method].uses:
                self._refuse(table)

    def _refuse(self, table: str) -> None:
        """Raise an ``InputError`` if a table has values other than its defaults."""
        given: Settings = getattr(self, table)
        for name in settings_in(type(given)):
            if getattr(given, name) != default_of(type(given), name):
                users = one_of(row.name for row in RECONSTRUCTIONS if table in row.uses)
                raise InputError(f"{name}: expected with {users}, found method {self.method}")


def as_recon(method: str | ReconSettings) -> ReconSettings:
    """Settings of a reconstruction; for a name, the defaults of that method.

    Raises:
        InputError: a name that no reconstruction has.
    """
    return method if isinstance(method, ReconSettings) else ReconSettings(method)
