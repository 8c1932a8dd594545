"""The digital head: nuclei where the atlas has them, whatever the grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from accelqsm.errors import InputError
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.simulate.heads.deformation import Pose, draw_deformation
from accelqsm.simulate.heads.head import LOOKUP, NUCLEI, Head, digital_head
from accelqsm.simulate.heads.lattice import lattice_points_mm

CIT168 = Path(__file__).parents[2] / "shared" / "data" / "cit168"
DEEP = centred_grid((82, 84, 64), (1.0, 1.0, 1.0), centre_mm=(0.0, -6.0, 4.0))
BRAIN = centred_grid((44, 54, 46), (4.0, 4.0, 4.0), centre_mm=(0.0, -17.0, 4.0))

# Pauli et al. 2018, doi 10.1038/sdata.2018.63: probabilistic volumes (mm^3) and centres (mm).
ATLAS = {
    "L Pu": (6917, (-25.9, 1.1, 0.5)),
    "R Pu": (6795, (25.6, 2.6, 0.2)),
    "L Ca": (5958, (-14.6, 7.6, 8.6)),
    "R Ca": (5995, (14.3, 8.7, 9.1)),
    "L GPe": (987, (-19.4, -1.3, -0.4)),
    "R GPe": (944, (19.1, -0.1, -0.4)),
    "L GPi": (507, (-17.5, -5.2, -4.5)),
    "R GPi": (506, (17.1, -4.1, -4.5)),
    "L RN": (388, (-5.2, -19.5, -9.5)),
    "R RN": (384, (4.9, -19.1, -9.4)),
    "L SNc": (154, (-8.6, -19.3, -14.0)),
    "R SNc": (161, (8.4, -19.0, -14.0)),
    "L SNr": (337, (-10.2, -16.5, -13.5)),
    "R SNr": (345, (10.0, -16.0, -13.5)),
}


@pytest.fixture(scope="module")
def template_head() -> Head:
    return digital_head(DEEP, seed=0, deformed=False)


@pytest.fixture(scope="module")
def person() -> Head:
    return digital_head(BRAIN, seed=0)


def test_lookup_names_every_nucleus_on_both_sides() -> None:
    assert NUCLEI == ("Pu", "Ca", "GPe", "GPi", "RN", "SNc", "SNr")
    assert dict(LOOKUP)[1] == "L Pu"
    assert dict(LOOKUP)[14] == "R SNr"


def test_nuclei_have_the_atlas_volumes_and_places(template_head: Head) -> None:
    world = DEEP.world_mm()
    for index, name in LOOKUP:
        volume_mm3, centre_mm = ATLAS[name]
        here = template_head.labels.numpy() == index
        assert here.sum() == pytest.approx(volume_mm3, rel=0.15), name
        assert np.linalg.norm(world[:, here].mean(1) - centre_mm) < 2.0, name
        assert (world[0, here] < 0).all() == name.startswith("L")


@pytest.mark.skipif(not CIT168.exists(), reason="the atlas is not beside the repository")
def test_nuclei_overlap_with_the_atlas(template_head: Head) -> None:
    import nibabel

    image = nibabel.nifti1.Nifti1Image.from_filename(CIT168 / "cit168_dseg_lr_p25.nii.gz")
    offset = DEEP.matrix[:3, 3] - image.affine[:3, 3]
    start = np.round(offset).astype(int)
    cut = tuple(slice(s, s + n) for s, n in zip(start, DEEP.shape, strict=True))
    atlas = np.asarray(image.dataobj)[cut]
    rows = [row.split("\t") for row in (CIT168 / "labels.tsv").read_text().splitlines()[1:]]
    number = {f"{row[3]} {row[2]}": int(row[0]) for row in rows}
    for index, name in LOOKUP:
        ours, theirs = template_head.labels.numpy() == index, atlas == number[name]
        dice = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
        assert dice > (0.7 if "SN" in name else 0.8), name


@pytest.mark.slow
def test_nuclei_have_the_asked_mean() -> None:
    grid = centred_grid((72, 60, 36), (1.0, 1.0, 1.0), centre_mm=(0.0, 4.0, 2.0))
    chi_ppm = {"GPi": 0.06, "GPe": 0.2}
    low = digital_head(grid, seed=4, nuclei_chi_ppm=chi_ppm)
    high = digital_head(grid, seed=4, nuclei_chi_ppm={k: 2 * v for k, v in chi_ppm.items()})
    for name, value in chi_ppm.items():
        for index in (2 * NUCLEI.index(name) + 1, 2 * NUCLEI.index(name) + 2):
            here = low.labels == index
            rise = (high.chi_ppm - low.chi_ppm)[here].mean()
            # Voxels at the border are partly something else.
            assert 0.8 * value < rise < 1.03 * value
            faster = (high.r2star_per_s - low.r2star_per_s)[here].mean()
            assert faster == pytest.approx(137 * float(rise), rel=0.05)
    assert torch.equal(low.labels, high.labels)


def test_tissues_have_their_properties(person: Head) -> None:
    assert person.chi_ppm[person.brain].mean().abs() < 0.01
    assert 1.2e6 < person.brain.sum() * BRAIN.voxel_volume_mm3 < 2.6e6
    assert person.chi_ppm[0, 0, -1] == pytest.approx(9.4)
    assert person.proton_density[0, 0, -1] == 0
    assert (person.chi_ppm < -1.5).any()
    for values in (person.r2star_per_s, person.t1_s, person.proton_density):
        assert torch.isfinite(values).all()
        assert values.min() >= 0
    assert person.labels[~person.brain].max() == 0


@pytest.mark.slow
def test_seed_repeats_and_matters(person: Head) -> None:
    same, other = (digital_head(BRAIN, seed=seed) for seed in (0, 1))
    assert torch.equal(person.chi_ppm, same.chi_ppm)
    assert torch.equal(person.labels, same.labels)
    assert (person.brain != other.brain).float().mean() > 0.01


def test_shifted_head_is_the_head_on_a_shifted_grid(person: Head) -> None:
    moved = digital_head(BRAIN, seed=0, pose=Pose(translation_mm=(8.0, 0.0, -4.0)))
    torch.testing.assert_close(
        moved.chi_ppm[2:, :, :-1], person.chi_ppm[:-2, :, 1:], atol=2e-3, rtol=1e-3
    )


@pytest.mark.slow
def test_turned_head_is_the_head_on_a_grid_turned_back() -> None:
    pose = Pose(rotation_deg=(3.0, -2.0, 5.0), translation_mm=(1.0, 2.0, -3.0))
    forward = np.eye(4)
    forward[:3, :3], forward[:3, 3] = pose.rotation.numpy(), pose.translation_mm
    back = Grid(BRAIN.shape, as_affine(np.linalg.inv(forward) @ BRAIN.matrix))
    turned = digital_head(BRAIN, seed=0, pose=pose)
    expected = digital_head(back, seed=0)
    assert (turned.chi_ppm - expected.chi_ppm).abs().max() < 0.02


@pytest.mark.slow
def test_coarse_head_is_the_mean_of_the_fine_one() -> None:
    coarse_grid = centred_grid((30, 32, 24), (2.0, 2.0, 2.0), centre_mm=(0, -6, 4))
    coarse = digital_head(coarse_grid, seed=2)
    fine = digital_head(coarse_grid.refined((3, 3, 3)), seed=2)
    for name in ("chi_ppm", "r2star_per_s", "t1_s"):
        # A coarse voxel's centre is every third fine voxel, and belongs in the middle of three.
        values = getattr(fine, name).roll((1, 1, 1), (0, 1, 2))
        mean = torch.nn.functional.avg_pool3d(values[None, None], 3, stride=3)[0, 0]
        assert mean.shape == coarse.grid.shape
        ours = getattr(coarse, name)
        seen = coarse.brain.clone()
        seen[0] = seen[:, 0] = seen[:, :, 0] = False
        pair = torch.stack([ours[seen], mean[seen]])
        assert torch.corrcoef(pair)[0, 1] > 0.98
        assert pair[0].mean() == pytest.approx(
            float(pair[1].mean()), abs=0.02 * float(pair[1].std())
        )


@pytest.mark.parametrize("seed", range(4))
def test_deformation_is_smooth_and_invertible(seed: int) -> None:
    deformation = draw_deformation(seed=seed, age_years=75.0)
    points = lattice_points_mm((40, 48, 40), origin_mm=(-78.0, -110.0, -70.0), spacing_mm=4.0)
    mapped = deformation.to_template(points)
    gradient = torch.stack(
        [torch.stack(torch.gradient(mapped[..., i], spacing=4.0), -1) for i in range(3)], -2
    )
    assert torch.linalg.det(gradient).min() > 0.3
    moved = (mapped - points / points.new_tensor(deformation.scale)).flatten(0, 2)
    assert 1.0 < moved.square().mean(0).mean().sqrt() < 5.0


@pytest.mark.slow
def test_ventricles_widen_with_age() -> None:
    grid = centred_grid((20, 40, 16), (2.0, 2.0, 2.0), centre_mm=(0, -10, 14))
    fluid = [(digital_head(grid, seed=5, age_years=age).t1_s > 2.5).sum() for age in (20, 45, 75)]
    assert fluid[0] < fluid[1] < fluid[2]


def test_unknown_nucleus_is_refused() -> None:
    with pytest.raises(InputError, match="nuclei_chi_ppm"):
        digital_head(DEEP, seed=0, nuclei_chi_ppm={"Putamen": 0.05})
    with pytest.raises(InputError, match="nuclei_chi_ppm"):
        digital_head(DEEP, seed=0, nuclei_chi_ppm={"Pu": float("nan")})
