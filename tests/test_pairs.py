"""Which segmentation belongs to which scan."""

from pathlib import Path

import pytest

from isomorph.errors import UsageError
from isomorph.pairs import pairs


def folders(root: Path, scans: list[str], maps: list[str]) -> tuple[Path, Path]:
    for folder, names in (("scans", scans), ("maps", maps)):
        for name in names:
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (root / folder / name).write_bytes(b"x")
    return root / "scans", root / "maps"


def paired(root: Path, scans: list[str], maps: list[str]) -> dict[str, str]:
    where = folders(root, scans, maps)
    found = pairs(*where)
    return {a.relative_to(where[0]).as_posix(): b.relative_to(where[1]).as_posix() for a, b in found}


@pytest.mark.parametrize(
    ("scans", "maps"),
    [
        (["sub-1.nii.gz", "sub-2.nii.gz", "sub-10.nii.gz"], ["sub-1_seg.mgz", "sub-2_seg.mgz", "sub-10_seg.mgz"]),
        (["sub-01_T1w.nii.gz", "sub-02_T1w.nii"], ["sub-01_dseg.nii.gz", "sub-02_desc-synth_dseg.nii.gz"]),
        (["sub-1_ses-2_T1w.nii", "sub-1_ses-10_T1w.nii"], ["sub-1_ses-2_dseg.nii", "sub-1_ses-10_dseg.nii"]),
        (["9.nii", "10.nii"], ["map of 9.nii", "map of 10.nii"]),  # nothing but order
        (["2/norm.mgz", "10/norm.mgz"], ["2/aseg.mgz", "10/aseg.mgz"]),
        (["one.nii"], ["other.nii"]),
    ],
)
def test_people_stay_together(tmp_path, scans, maps):
    assert paired(tmp_path, scans, maps) == dict(zip(scans, maps, strict=True))


@pytest.mark.parametrize(
    ("scans", "maps", "said"),
    [
        (["a.nii", "b.nii"], ["a_seg.nii", "c_seg.nii"], "c_seg.nii is not the one segmentation"),
        (["a.nii", "b.nii"], ["a_1.nii", "a_2.nii"], "a_1.nii is not the one segmentation"),
    ],
)
def test_names_that_contradict_each_other_are_told(tmp_path, scans, maps, said):
    with pytest.raises(UsageError, match=said):
        pairs(*folders(tmp_path, scans, maps))
