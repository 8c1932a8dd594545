"""Zero-filled reconstruction."""

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
    """Zero-filled images F^-1 M y_c, channel by channel.

    Args:
        kspace: any samples.
        settings: not used.

    Returns:
        Blocks of images, one for each channel.
    """
    for channel in track(range(kspace.n_channels), "zero-filling", kspace.n_channels):
        chosen = slice(channel, channel + 1)
        images = ifft(kspace.planes(chosen), PHASE_ENCODES)
        yield ImageBlock(chosen, all_readouts(kspace), images)
