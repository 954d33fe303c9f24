from __future__ import annotations

import itertools
import struct

import nibabel as nib
import numpy as np
import pytest

from isomorph import io
from isomorph.errors import Refusal
from isomorph.io.geometry import Claims, decide, extent, quaternion_affine, shear

SHAPE = (64, 64, 40)
PIXDIM = np.array([3.0, 3.0, 4.0])
RAS = np.diag([3.0, 3.0, 4.0, 1.0])
RAS[:3, 3] = [-96, -96, -80]


def changed(affine, **entries):
    affine = affine.copy()
    for key, value in entries.items():
        affine[int(key[1]), int(key[2])] = value
    return affine


MIRRORED = changed(RAS, _00=-3, _03=96)
SHIFTED = changed(RAS, _03=-91, _13=-103, _23=-68)
SHEARED = changed(RAS, _12=4 * np.tan(np.deg2rad(20)))
NAN = changed(RAS, _00=np.nan)

# qform, its code, sform, its code, voxel size, unit -> what is chosen, codes
TABLE = [
    (RAS, 1, RAS, 1, PIXDIM, 1, "sform", []),
    (RAS, 1, RAS, 0, PIXDIM, 1, "qform", []),
    (RAS, 0, RAS, 1, PIXDIM, 1, "sform", []),
    (RAS, 1, RAS, -1, PIXDIM, 1, "qform", []),
    (None, 1, RAS, 1, PIXDIM, 1, "sform", []),
    (RAS, 0, RAS, 0, PIXDIM, 1, "pixdim", ["W401"]),
    (RAS, 0, RAS, 0, -PIXDIM, 1, "pixdim", ["W401"]),
    (RAS, 1, NAN, 1, PIXDIM, 1, "qform", ["W402"]),
    (RAS, 0, NAN, 1, PIXDIM, 1, "pixdim", ["W402"]),
    (RAS, 0, np.zeros((4, 4)), 1, PIXDIM, 1, "pixdim", ["W402"]),
    (RAS, 1, SHIFTED, 2, PIXDIM, 1, "sform", ["W403"]),
    (RAS, 1, MIRRORED, 1, PIXDIM, 1, "sform", ["W404"]),
    (RAS, 0, SHEARED, 1, PIXDIM, 1, "sform", ["W405"]),
    (RAS, 0, RAS / 1000, 1, PIXDIM / 1000, 1000.0, "sform", ["W406"]),
    (RAS, 0, RAS, 1, PIXDIM, 1000.0, "sform", ["W406"]),
    (RAS, 0, RAS, 1, PIXDIM, 0.001, "sform", ["W406"]),
    (RAS, 0, RAS, 1, np.ones(3), 1, "sform", ["W407"]),
    (RAS, 0, changed(RAS, _03=1e7), 1, PIXDIM, 1, "sform", ["W408"]),
    (RAS, 0, np.eye(4), 1, np.ones(3), 1, "sform", ["W409"]),
    (None, 1, RAS, 0, PIXDIM, 1, "", ["E401"]),
    (RAS, 0, RAS, 0, PIXDIM * np.nan, 1, "", ["E401"]),
    (RAS, 0, RAS, 0, PIXDIM * 0, 1, "", ["E402"]),
    (RAS, 0, changed(RAS, _01=3, _11=0.01), 1, PIXDIM, 1, "", ["E403"]),
    (RAS, 0, np.diag([0.01, 0.01, 0.01, 1]), 1, PIXDIM, 1, "", ["E404"]),
    (RAS, 0, np.diag([50.0, 50, 50, 1]), 1, PIXDIM, 1, "", ["E404"]),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r[6]}-{'-'.join(r[7])}")
def test_decision_table(row):
    qform, qcode, sform, scode, pixdim, unit, chosen, codes = row
    claims = Claims(SHAPE, pixdim, qform, sform, qcode, scode, unit)
    if codes and codes[0].startswith("E"):
        with pytest.raises(Refusal) as refused:
            decide(claims)
        assert refused.value.code == codes[0]
        return
    place = decide(claims)
    assert (place.chosen, [n.code for n in place.notices]) == (chosen, codes)
    if codes == ["W406"]:
        assert np.linalg.norm(place.affine[:3, :3], axis=0) == pytest.approx(PIXDIM)


def test_left_stays_left_in_all_48_orientations():
    point = np.array([20.0, -10.0, 5.0, 1.0])
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((-1, 1), repeat=3)):
        affine = np.eye(4)
        affine[:3, :3] = (np.eye(3) * signs)[:, order] * [1.0, 2.0, 3.0]
        affine[:3, 3] = [7, 8, 9]
        place = decide(Claims(SHAPE, np.array([1.0, 2.0, 3.0]), None, affine, 0, 1))
        assert place.trusted
        assert place.affine @ np.linalg.inv(affine) @ point == pytest.approx(point)


def test_quaternions_agree_with_nibabel():
    rng = np.random.default_rng(1)
    for _ in range(50):
        q = rng.normal(size=4)
        q /= np.linalg.norm(q) * np.sign(q[0])
        header = nib.Nifti1Header()
        header["pixdim"][:4] = [rng.choice([-1, 1]), 1, 2, 3]
        header["quatern_b"], header["quatern_c"], header["quatern_d"] = q[1:]
        header["qoffset_x"], header["qform_code"] = 5, 1
        qfac = float(header["pixdim"][0])
        b, c, d = (float(header[f"quatern_{x}"]) for x in "bcd")
        ours = quaternion_affine(b, c, d, np.array([5.0, 0, 0]), np.array([1.0, 2, 3]), qfac)
        assert ours == pytest.approx(header.get_qform(), abs=1e-5)


@pytest.mark.parametrize("delta", [(1, 1, 1), (3, 3, 4)])
@pytest.mark.parametrize("flag", [0, -1])
def test_an_mgh_without_orientation_lies_where_freesurfer_puts_it(tmp_path, delta, flag):
    path = tmp_path / "scan.mgh"
    raw = bytearray(nib.MGHImage(np.ones((64, 65, 40), np.float32), RAS).to_bytes())
    struct.pack_into(">h3f", raw, 28, flag, *delta)
    path.write_bytes(raw)
    scan = io.read(path, kind="image")
    assert [n.code for n in scan.warnings] == ["W401"]
    assert not scan.source["orientation_trusted"]
    assert np.array_equal(io.outline(path)[1], scan.volume.affine)
    # FreeSurfer assumes coronal slices and the origin in the middle; nibabel too, but with the axes transposed. Both
    # take 1 mm for the voxel size: we believe the file.
    struct.pack_into(">h15f", raw, 28, 1, *delta, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0)
    assert scan.volume.affine == pytest.approx(nib.MGHImage.from_bytes(bytes(raw)).affine)
    struct.pack_into(">h", raw, 28, 0)
    middle = [32, 32.5, 20, 1]
    assert scan.volume.affine @ middle == pytest.approx(nib.MGHImage.from_bytes(bytes(raw)).affine @ middle)


def test_shear_is_the_announced_angle():
    assert shear(RAS) == pytest.approx(0, abs=1e-6)
    assert shear(SHEARED) == pytest.approx(20)


@pytest.mark.parametrize(
    ("shape", "sizes", "code"),
    [
        ((64, 64, 1), (3, 3, 40), "E203"),
        ((64, 64, 4), (3, 3, 4), "E203"),
        ((64, 64, 5), (3, 3, 8), "W202"),
        ((16, 16, 16), (3, 3, 4), "W203"),
        ((250, 250, 420), (1, 1, 1), "W204"),
        ((500, 500, 600), (1, 1, 1), "E206"),
    ],
)
def test_extent(shape, sizes, code):
    affine = np.diag([*sizes, 1.0])
    if code.startswith("W"):
        assert [n.code for n in extent(shape, affine)] == [code]
    else:
        with pytest.raises(Refusal, match=code):
            extent(shape, affine)
