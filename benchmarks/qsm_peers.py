"""What others do at each stage of QSM, written from their papers, to stand beside the chain."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.conjugate import conjugate_gradients
from accelqsm.dipole import dipole_kernel
from accelqsm.grid import Triple
from accelqsm.qsm.background.local import LocalField
from accelqsm.qsm.inversion.gradient import Gradient
from accelqsm.qsm.volume import box_of, voxels_within

PDF_MARGIN_MM, PDF_ITERATIONS = 30.0, 40
RESHARP_RADIUS_MM, RESHARP_TIKHONOV, RESHARP_ITERATIONS = 6.0, 1e-3, 60
TKD_THRESHOLD = 0.19
TIKHONOV_GRADIENT = 1.5e-3
HD_REGULARISATION = 1e-4
HD_FIRST, HD_SECOND = 20, 80
MARGIN_VOXELS = (12, 12, 12)


def fitted_field_hz(images: Tensor, echo_times_s: tuple[float, ...], mask: Tensor) -> Tensor:
    """Unwrap each echo with scikit-image, then fit slope and intercept, weighed by |S|^2.

    Args:
        images: complex (echo, x, y, z).
        echo_times_s: at least two.
        mask: bool (x, y, z).

    Returns:
        (x, y, z) in Hz, zero outside the mask.
    """
    from skimage.restoration import unwrap_phase

    outside = ~mask.numpy()
    phases = [
        np.ma.masked_array(unwrap_phase(np.ma.masked_array(image.angle().numpy(), outside)))
        for image in images
    ]
    # Each echo is known up to whole turns: the second lies less than half a turn from the first,
    # the others where the line through the two before them leads.
    aligned = [phases[0].filled(0.0)]
    rate = 0.0
    for echo in range(1, len(phases)):
        step_s = echo_times_s[echo] - echo_times_s[echo - 1]
        unwrapped = phases[echo].filled(0.0)
        change = float(np.median((unwrapped - aligned[-1])[~outside]))
        turns = round((change - rate * step_s) / math.tau)
        aligned.append(unwrapped - math.tau * turns)
        rate = (change - math.tau * turns) / step_s
    phase = torch.from_numpy(np.stack(aligned).astype(np.float32))
    weight = images.abs().square()
    time_s = torch.tensor(echo_times_s).view(-1, 1, 1, 1)
    total = weight.sum(0).clamp_min(1e-20)
    time_s = time_s - (weight * time_s).sum(0) / total
    slope = (weight * time_s * phase).sum(0) / (weight * time_s**2).sum(0).clamp_min(1e-20)
    return torch.where(mask, slope / math.tau, 0)


def pdf(
    field_ppm: Tensor, mask: Tensor, weight: Tensor, size_mm: Triple, direction: Triple
) -> LocalField:
    """Projection onto dipole fields: sources outside alone explain all they can.

    Source: Liu et al. 2011, NMR Biomed 24:1129, doi 10.1002/nbm.1670.
    """
    box = box_of(mask, margin_voxels=voxels_within(PDF_MARGIN_MM, size_mm))
    inside, field = box.frame(mask), box.frame(torch.where(mask, field_ppm, 0))
    power = box.frame(torch.where(mask, weight, 0)).square()
    kernel = _kernel(field, size_mm, direction)

    def outside_field(chi: Tensor) -> Tensor:
        return _filtered(torch.where(inside, 0, chi), kernel)

    def normal(chi: Tensor) -> Tensor:
        return torch.where(inside, 0, _filtered(power * outside_field(chi), kernel))

    wanted = torch.where(inside, 0, _filtered(power * field, kernel))
    chi = conjugate_gradients(normal, wanted, n_iterations=PDF_ITERATIONS)
    return LocalField(box.unframe((field - outside_field(chi)) * inside, mask.shape), mask)


def resharp(field_ppm: Tensor, mask: Tensor, size_mm: Triple) -> LocalField:
    """Ball means with Tikhonov regularisation.

    Source: Sun & Wilman 2014, Magn Reson Med 71:1151, doi 10.1002/mrm.24765.
    """
    reach = voxels_within(RESHARP_RADIUS_MM, size_mm)
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    squared = sum((a * s) ** 2 for a, s in zip(axes, size_mm, strict=True))
    ball = np.asarray(squared <= RESHARP_RADIUS_MM**2)
    box = box_of(mask, margin_voxels=reach)
    inside, field = box.frame(mask), box.frame(torch.where(mask, field_ppm, 0))
    left = torch.from_numpy(ndimage.binary_erosion(inside.numpy(), ball))
    kernel = torch.zeros_like(field)
    kernel[tuple(slice(0, n) for n in ball.shape)] = -torch.from_numpy(ball / ball.sum()).to(field)
    kernel = kernel.roll([-n for n in reach], (0, 1, 2))
    kernel[0, 0, 0] += 1
    spectrum = torch.fft.rfftn(kernel).real

    def normal(local: Tensor) -> Tensor:
        return _filtered(left * _filtered(local, spectrum), spectrum) + RESHARP_TIKHONOV * local

    wanted = _filtered(left * _filtered(field, spectrum), spectrum)
    local = conjugate_gradients(normal, wanted, n_iterations=RESHARP_ITERATIONS)
    kept = box.unframe(left.to(field), mask.shape) > 0
    return LocalField(box.unframe(local * left, mask.shape), kept)


def tkd(local_ppm: Tensor, mask: Tensor, size_mm: Triple, direction: Triple) -> Tensor:
    """Division by the dipole kernel, which is kept from zero by a threshold.

    Source: Shmueli et al. 2009, Magn Reson Med 62:1510, doi 10.1002/mrm.22135.
    """
    box = box_of(mask, margin_voxels=MARGIN_VOXELS)
    field = box.frame(torch.where(mask, local_ppm, 0))
    kernel = _kernel(field, size_mm, direction)
    kept = torch.where(kernel < 0, -1.0, 1.0) * kernel.abs().clamp_min(TKD_THRESHOLD)
    return torch.where(mask, box.unframe(_filtered(field, 1 / kept), mask.shape), 0)


def closed_form(local_ppm: Tensor, mask: Tensor, size_mm: Triple, direction: Triple) -> Tensor:
    """Least squares with a quadratic penalty on the gradient, which one division solves.

    Source: Bilgic et al. 2014, Magn Reson Med 72:1444, doi 10.1002/mrm.25029.
    """
    box = box_of(mask, margin_voxels=MARGIN_VOXELS)
    field = box.frame(torch.where(mask, local_ppm, 0))
    kernel = _kernel(field, size_mm, direction)
    penalty = TIKHONOV_GRADIENT * Gradient(size_mm).power_spectrum(field)
    system = kernel**2 + penalty
    system[0, 0, 0] = torch.inf
    return torch.where(mask, box.unframe(_filtered(field, kernel / system), mask.shape), 0)


def hd_qsm(
    local_ppm: Tensor, mask: Tensor, weight: Tensor, size_mm: Triple, direction: Triple
) -> Tensor:
    """Total variation twice: absolute misfit first, then squared where the first one explains.

    The absolute misfit finds which voxels no source explains; those count less in the second
    stage, which starts from the first one's map. Iterations as published; the penalty of the
    gradient is ten times its weight, the first stage has the roots of both.

    Source: Lambert et al. 2022, Magn Reson Med 88:962, doi 10.1002/mrm.29218.
    """
    box = box_of(mask, margin_voxels=MARGIN_VOXELS)
    inside, field = box.frame(mask), box.frame(torch.where(mask, local_ppm, 0))
    confidence = box.frame(mask * weight.to(field))
    kernel, gradient = _kernel(field, size_mm, direction), Gradient(size_mm)

    def minimised(chi: Tensor, alpha: float, n: int, misfit: Callable[[Tensor], Tensor]) -> Tensor:
        rho = 10 * alpha if misfit is squared else (10 * HD_REGULARISATION) ** 0.5
        system = kernel**2 + rho * gradient.power_spectrum(field)
        system[0, 0, 0] = torch.inf
        edge_dual, dual = torch.zeros_like(gradient(chi)), torch.zeros_like(chi)
        for _ in range(n):
            slope = gradient(chi) + edge_dual
            edge_dual = slope.clamp(-alpha / rho, alpha / rho)
            proposed = _filtered(chi, kernel) + dual
            split = misfit(proposed)
            dual = proposed - split
            wanted = torch.fft.rfftn(split - dual) * kernel
            wanted += rho * torch.fft.rfftn(gradient.adjoint(slope - 2 * edge_dual))
            chi = torch.fft.irfftn(wanted / system, s=field.shape)
        return chi

    def absolute(proposed: Tensor) -> Tensor:
        off = proposed - field
        return field + off - off.clamp(-confidence, confidence)

    def squared(proposed: Tensor) -> Tensor:
        power = (confidence * trust).square()
        return (power * field + proposed) / (power + 1)

    chi = torch.zeros_like(field)
    chi = minimised(chi, HD_REGULARISATION**0.5, HD_FIRST, absolute)
    unexplained = (field - _filtered(chi, kernel)).abs() * inside
    trust = 1 - unexplained / unexplained.max()
    chi = minimised(chi, HD_REGULARISATION, HD_SECOND, squared)
    return torch.where(mask, box.unframe(chi, mask.shape), 0)


def _kernel(like: Tensor, size_mm: Triple, direction: Triple) -> Tensor:
    x, y, z = like.shape
    return dipole_kernel((x, y, z), voxel_size_mm=size_mm, b0_direction=direction, dtype=like.dtype)


def _filtered(volume: Tensor, spectrum: Tensor) -> Tensor:
    filtered: Tensor = torch.fft.irfftn(torch.fft.rfftn(volume) * spectrum, s=volume.shape)
    return filtered
