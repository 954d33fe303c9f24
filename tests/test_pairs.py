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
        (["1²3.nii", "4.nii"], ["a.nii", "b.nii"]),
        (["sub-1/norm.mgz", "sub-10/norm.mgz"], ["sub-1/aseg.mgz", "sub-10/aseg.mgz"]),
        (["sub-1_ses-1_T1w.nii", "sub-2_ses-1_T1w.nii"], ["sub-1_dseg.nii", "sub-2_dseg.nii"]),
        (["sub-1_ses-1_T1w.nii", "sub-2_T1w.nii"], ["sub-1_dseg.nii", "sub-2_ses-2_dseg.nii"]),
        (["sub-1_T1w.nii"], ["seg.nii"]),
    ],
)
def test_people_stay_together(tmp_path, scans, maps):
    assert paired(tmp_path, scans, maps) == dict(zip(scans, maps, strict=True))


@pytest.mark.parametrize(
    ("scans", "maps"),
    [
        (["a.nii", "b.nii"], ["a_seg.nii", "c_seg.nii"]),
        (["a.nii", "b.nii"], ["a_1.nii", "a_2.nii"]),
        (["1.nii", "2.nii"], ["10_seg.nii", "2_seg.nii"]),
        (["sub-1_T1w.nii", "sub-2_T1w.nii"], ["sub-10_dseg.nii", "sub-2_dseg.nii"]),
        (["sub-1_T1w.nii", "sub-1_T2w.nii", "sub-2_T1w.nii"], ["sub-1_dseg.nii", "sub-2_dseg.nii", "sub-2_x_dseg.nii"]),
        (["sub-1_ses-1.nii", "sub-1_ses-2.nii"], ["sub-1_dseg.nii", "sub-2_dseg.nii"]),
        (["sub-1/norm.mgz", "sub-2/norm.mgz"], ["sub-2/aseg.mgz", "sub-3/aseg.mgz"]),
        (["sub-1_ses-pre_T1w.nii"], ["sub-1_ses-post_dseg.nii"]),
        (["sub-1_ses-a_T1w.nii", "sub-2_ses-a_T1w.nii"], ["sub-1_ses-b_dseg.nii", "sub-2_ses-a_dseg.nii"]),
        (["ses-pre/sub-1_T1w.nii"], ["ses-post/sub-1_T1w_dseg.nii"]),
        (["sub-1_T1w.nii"], ["sub-2_dseg.nii"]),
    ],
)
def test_names_that_do_not_tell_are_no_order(tmp_path, scans, maps):
    with pytest.raises(UsageError, match=r"give two \.txt lists"):
        pairs(*folders(tmp_path, scans, maps))


def test_a_folder_and_a_list_are_in_no_common_order(tmp_path):
    scans, _ = folders(tmp_path, ["1.nii", "2.nii"], ["x.nii"])
    (tmp_path / "maps.txt").write_text("a.nii\nb.nii\n")
    with pytest.raises(UsageError, match="a folder and a list"):
        pairs(scans, tmp_path / "maps.txt")


def test_two_files_are_a_pair_whatever_their_names(tmp_path):
    (scan, map_) = (tmp_path / name for name in ("sub-1_ses-pre_T1w.nii", "sub-2_ses-post_dseg.nii"))
    for path in (scan, map_):
        path.write_bytes(b"x")
    assert pairs(scan, map_) == [(scan, map_)]


@pytest.mark.parametrize("names", [["a.nii", "b.nii"], ["a.nii", "a_seg.nii"], ["sub-1_T1w.nii", "sub-1_dseg.nii"]])
def test_no_file_is_its_own_segmentation(tmp_path, names):
    scans, maps = folders(tmp_path, names, ["x.nii", "y.nii"])
    (tmp_path / "list.txt").write_text(f"scans/{names[1]}\n")
    (maps / "link.nii").hardlink_to(scans / names[0])
    file = scans / names[1]
    for given in ((scans, scans), (file, file), (tmp_path, maps), (tmp_path / "list.txt", scans), (scans, maps)):
        with pytest.raises(UsageError, match=r"is given as a scan and as a segmentation; give different files"):
            pairs(*given)


def test_a_list_may_begin_with_the_mark_of_windows(tmp_path):
    scans, maps = folders(tmp_path, ["a.nii"], ["b.nii"])
    (tmp_path / "scans.txt").write_text("scans/a.nii\n", encoding="utf-8-sig")
    (tmp_path / "maps.txt").write_text("maps/b.nii\n", encoding="utf-8")
    assert pairs(tmp_path / "scans.txt", tmp_path / "maps.txt") == [(scans / "a.nii", maps / "b.nii")]
