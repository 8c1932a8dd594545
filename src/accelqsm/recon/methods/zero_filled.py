"""Zero filling: what was not measured is zero."""

from __future__ import annotations

from collections.abc import Iterator

from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.kspace import KSpace
from accelqsm.options.setting import NoSettings
from accelqsm.recon.blocks import ImageBlock, all_readouts
from accelqsm.recon.method_settings import MethodSettings
from accelqsm.runtime.progress import track


def zero_filled_blocks(
    kspace: KSpace, settings: MethodSettings[NoSettings]
) -> Iterator[ImageBlock]:
    """The inverse transform F^-1 M y_c of every channel, one channel after another.

    Args:
        kspace: any samples.
        settings: nothing of them is used.

    Returns:
        Images of every channel.
    """
    for channel in track(range(kspace.n_channels), "zero-filling", kspace.n_channels):
        chosen = slice(channel, channel + 1)
        images = ifft(kspace.planes(chosen), PHASE_ENCODES)
        yield ImageBlock(chosen, all_readouts(kspace), images)
