from __future__ import annotations

import errno
import gzip
import json
import logging
import os
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from isomorph import io
from isomorph.errors import Refusal, SetupError, UsageError
from isomorph.io import container


def test_a_download_that_stopped_early_is_truncated_and_not_too_large(tmp_path):
    path = tmp_path / "scan.nii.gz"
    noise = np.random.default_rng(0).random((96, 96, 96), dtype=np.float32)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(Refusal, match=r"E104 the file is truncated \(3000 bytes cannot hold .*; fetch it again"):
        io.read(path)


def test_every_bit_flip_that_changes_the_image_is_detected(nifti):
    path = nifti()
    good = path.read_bytes()
    clean = io.read(path).volume.data
    rng = np.random.default_rng(0)
    missed = 0
    # The first ten bytes hold time and operating system, which carry no image.
    for position, bit in zip(rng.integers(10, len(good), 200), rng.integers(0, 8, 200), strict=True):
        bad = bytearray(good)
        bad[position] ^= 1 << bit
        path.write_bytes(bad)
        if io.check(path).outcome != "refuse":
            # A flip between two ways of writing the same run of zeros changes nothing.
            missed += gzip.decompress(bad) != gzip.decompress(good)
    assert missed == 0
    path.write_bytes(good)
    assert torch.equal(io.read(path).volume.data, clean)


def test_agrees_with_nibabel_on_voxels_and_place(nifti, head):
    path = nifti(scl_slope=0.5, scl_inter=3)
    scan, image = io.read(path), nib.load(path)
    assert scan.volume.data.dtype == torch.float32
    assert scan.volume.data.is_contiguous()
    assert scan.volume.data[0].numpy() == pytest.approx(image.get_fdata(), rel=1e-6)
    assert scan.volume.affine == pytest.approx(image.affine)
    assert scan.warnings == ()


def test_source_is_json_and_tells_no_names(nifti, tmp_path):
    path = nifti("ZZCANARY.nii.gz", descrip=b"ZZCANARY^PHI", db_name=b"ZZCANARY", intent_name=b"ZZCANARY")
    text = json.dumps(io.read(path).source, allow_nan=False)
    assert "ZZCANARY" not in text
    assert str(tmp_path) not in text


def test_frames(tmp_path, head):
    stack = np.stack([head.data[0].numpy(), 3 * head.data[0].numpy()], -1)
    path = tmp_path / "two.nii.gz"
    nib.save(nib.Nifti1Image(stack, head.affine), path)
    assert [n.code for n in io.read(path).warnings] == ["W201"]
    first, second, mean = (io.read(path, frame=f).volume.data for f in (0, 1, "mean"))
    assert torch.equal(first, head.data)
    assert torch.allclose(second, 3 * first)
    assert torch.allclose(mean, 2 * first, rtol=1e-5)
    with pytest.raises(Refusal, match="E207"):
        io.read(path, frame=2)
    with pytest.raises(UsageError):
        io.read(path, frame=-1)


def test_label_maps_are_refused_as_scans_and_read_as_images(tmp_path, head):
    labels = (head.data[0].numpy() > 500).astype(np.uint8).repeat(2, 0)
    path = tmp_path / "labels.nii.gz"
    nib.save(nib.Nifti1Image(labels, head.affine), path)
    assert io.check(path).codes == ["E504"]
    assert io.load(path, kind="image").data.unique().tolist() == [0, 1]


def test_hot_voxels_are_clipped_and_the_rest_is_kept(tmp_path, head):
    x = head.data[0].numpy().copy()
    x[20, 20, 20] = 1e6
    path = tmp_path / "hot.nii.gz"
    nib.save(nib.Nifti1Image(x, head.affine), path)
    scan = io.read(path)
    assert [n.code for n in scan.warnings] == ["W502"]
    assert scan.volume.data.max() < 30000
    assert (scan.volume.data != head.data).sum() == 1


def test_air_that_lies_above_zero_changes_no_verdict_and_no_measure(tmp_path, head):
    for name, offset in (("plain", 0), ("raised", 32768)):
        x = head.data[0].numpy() + np.random.default_rng(1).normal(0, 5, head.shape).clip(0) + offset
        nib.save(nib.Nifti1Image(x.astype(np.float32), head.affine), tmp_path / f"{name}.nii.gz")
    plain, raised = (io.read(tmp_path / f"{name}.nii.gz") for name in ("plain", "raised"))
    assert [n for n in raised.warnings if n.code != "W512"] == list(plain.warnings)
    assert len(raised.warnings) == len(plain.warnings) + 1
    for measure in ("content_cm3", "coverage_mm"):
        assert raised.source[measure] == pytest.approx(plain.source[measure], rel=0.02)


def test_a_loaded_image_is_that_of_reading_and_what_is_doubtful_is_logged(nifti, caplog):
    path = nifti()
    path = path.rename(path.with_name("scan\n.nii"))
    with caplog.at_level(logging.WARNING, logger="isomorph.io.reader"):
        assert torch.equal(io.load(path).data, io.read(path).volume.data)
    said = "scan\\n.nii: W101 the name and the content disagree on compression; read by content"
    assert [record.getMessage() for record in caplog.records] == [said]


def test_an_image_can_be_loaded_as_a_ct(tmp_path, head):
    hounsfield = np.select([head.data[0] > 850, head.data[0] > 500, head.data[0] > 200], [30, 40, 1200], -1000)
    path = tmp_path / "high.nii"
    nib.save(nib.Nifti1Image((hounsfield + 1024).astype(np.int16), head.affine), path)
    assert io.load(path).data.min() == 24
    assert io.load(path, ct=True).data.min() == -1000


def test_memory_that_does_not_suffice_is_a_refusal(nifti, monkeypatch):
    def exhaust(*_):
        raise MemoryError

    monkeypatch.setattr("isomorph.io.voxels.values", exhaust)
    path = nifti()
    with pytest.raises(Refusal, match="E801 not enough memory"):
        io.read(path)
    assert io.check(path).codes == ["E801"]


@pytest.mark.parametrize("name", ["sub-01_desc-synthstrip_T1w", "sub-01_desc-synthseg_dseg", "desc-synthetic"])
def test_images_of_other_tools_are_not_disowned(nifti, name):
    path = nifti(f"{name}.nii.gz")
    assert io.check(path).outcome == "ok"
    assert io.survey([path.parent]) == ([path], [])


def test_a_sidecar_speaks_for_its_own_image_alone(tmp_path, nifti, head):
    other = nifti("t1.nii")
    ours = io.write(head, tmp_path / "t1.mgz", sidecar={})
    assert io.check(other).outcome == "ok"
    assert io.survey([tmp_path]) == ([other], [ours])


def test_the_digest_is_that_of_reading(nifti, tmp_path, head):
    path = nifti()
    assert io.digest(path) == io.read(path).source["sha256"]
    pair = tmp_path / "pair.img"
    nib.save(nib.Nifti1Pair(head.data[0].numpy(), head.affine), pair)
    assert io.digest(pair) == io.digest(pair.with_suffix(".hdr")) == io.read(pair).source["sha256"]


def test_no_remedy_names_an_option_that_does_not_exist():
    source = "".join(p.read_text() for p in Path(io.__file__).parent.rglob("*.py"))
    assert set(re.findall(r"--[a-z][a-z-]+", source)) <= {"--overwrite", "--ct"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(nifti):
    path = nifti()
    path.chmod(0)
    assert io.check(path).codes == ["E108"]
    with pytest.raises(Refusal, match=r"E108 cannot be opened \(permission denied"):
        io.outline(path)


@pytest.mark.parametrize("look", [io.outline, io.read])
def test_each_way_in_opens_without_trust(nifti, tmp_path, monkeypatch, look):
    path, empty, pipe = nifti(), tmp_path / "empty.nii", tmp_path / "pipe.nii"
    empty.touch()
    os.mkfifo(pipe)
    (tmp_path / "folder.nii").mkdir()
    for name, code in (("empty.nii", "E101"), ("pipe.nii", "E108"), ("folder.nii", "E108"), ("none.nii", "E108")):
        with pytest.raises(Refusal, match=code):
            look(tmp_path / name)

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "denied", str(path))

    monkeypatch.setattr(os, "open", denied)  # also for root, who may read everything
    with pytest.raises(Refusal, match="E108") as refused:
        look(path)
    assert str(tmp_path) not in str(refused.value)


def test_a_file_that_shrinks_while_being_read(nifti, monkeypatch):
    path = nifti()
    fstat = os.fstat

    def longer(fd):
        info = list(fstat(fd))
        info[6] += 1000
        return os.stat_result(info)

    monkeypatch.setattr(container.os, "fstat", longer)
    with pytest.raises(Refusal, match="E104"):
        container.slurp(path, 10**9)


def test_names_are_escaped():
    assert io.escape("a\nb\x1b[2J\u202ec 脑é.nii") == "a\\nb\\x1b[2J\\u202ec 脑é.nii"


def test_find_counts_each_image_once(tmp_path, nifti, head):
    for name in ("b.nii.gz", "A.NII", ".hidden.nii", "sub/c.mgz", "sub/p.hdr", "sub/p.img", "t.txt", ".d/x.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub/x_desc-synth_T1w.nii.gz").write_bytes(b"x")
    io.write(head, tmp_path / "sub/ours.nii.gz", sidecar={})
    found = [p.relative_to(tmp_path).as_posix() for p in io.survey([tmp_path, tmp_path / "b.nii.gz"])[0]]
    assert found == ["A.NII", "b.nii.gz", "sub/c.mgz", "sub/p.hdr"]
    missing = tmp_path / "missing.nii"
    assert io.survey([missing]) == ([missing], [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_listed_is_told_and_not_passed_over(tmp_path, head):
    (tmp_path / "sub-02").mkdir(mode=0)
    with pytest.raises(SetupError, match=r"E108 the folder .*sub-02 cannot be listed"):
        io.survey([tmp_path])


def test_why_a_folder_cannot_be_listed_is_told(tmp_path, monkeypatch):
    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return iter(())

    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(SetupError, match=r"E108 the folder .* cannot be listed"):
        io.survey([tmp_path])


def test_headers_with_random_bytes_are_judged_and_never_crash(nifti):
    path = nifti("scan.nii")
    good = path.read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(rng.integers(1, 6)):
            bad[rng.integers(0, 352)] = rng.integers(0, 256)
        path.write_bytes(bad)
        assert io.check(path).outcome in ("ok", "warn", "refuse")
