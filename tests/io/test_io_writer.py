from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from isomorph import io, place
from isomorph.errors import Refusal, SetupError, UsageError
from isomorph.io import writer
from isomorph.volume import Volume

ENDS = [".nii", ".nii.gz", ".mgz", ".mgh"]


@pytest.mark.parametrize("end", ENDS)
def test_round_trip_keeps_voxels_and_place(tmp_path, head, end):
    path = io.write(head, tmp_path / f"out{end}", sidecar={"note": "x"})
    back = io.load(path, kind="image")
    assert torch.equal(back.data, head.data)
    assert back.affine == pytest.approx(head.affine, abs=1e-4)
    content = path.read_bytes()
    content = gzip.decompress(content) if end in (".nii.gz", ".mgz") else content
    other = (nib.MGHImage if end.startswith(".mg") else nib.Nifti1Image).from_bytes(content)
    assert np.array_equal(other.get_fdata(dtype=np.float32), head.data[0].numpy())
    assert other.affine == pytest.approx(head.affine, abs=1e-4)


def test_header_is_new_and_both_forms_agree(tmp_path, head):
    header = nib.load(io.write(head, tmp_path / "out.nii.gz")).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    assert header.get_qform() == pytest.approx(header.get_sform(), abs=1e-4)
    assert header.get_xyzt_units()[0] == "mm"
    assert bytes(header["descrip"]).startswith(b"isomorph ")


def test_same_image_same_bytes(tmp_path, head):
    first = io.write(head, tmp_path / "a.nii.gz").read_bytes()
    time.sleep(1.1)
    assert io.write(head, tmp_path / "b.nii.gz").read_bytes() == first


def test_sidecar_describes_the_output(tmp_path, head):
    path = io.write(head, tmp_path / "out.nii.gz", sidecar={"model": "m", "output": {"range": [0, 1]}})
    content = json.loads(io.sidecar_path(path).read_text())
    assert content["synthetic"] is True
    assert content["model"] == "m"
    assert content["output"]["range"] == [0, 1]
    assert content["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="not JSON"):
        io.write(head, tmp_path / "nan.nii.gz", sidecar={"x": float("nan")})
    assert not (tmp_path / "nan.nii.gz").exists()


@pytest.mark.parametrize("end", [".nii.gz", ".mgz"])
def test_our_output_is_not_an_input(tmp_path, head, end):
    path = io.write(head, tmp_path / f"out{end}", sidecar={})
    assert io.check(path).codes == ["E505"]
    assert io.load(path, kind="image").shape == head.shape


def test_integer_types_are_clipped_and_never_scaled(tmp_path, head):
    x = torch.tensor([300.7, -5, 1e6, 64.4]).repeat(4, 4, 1)[None]
    for dtype, expected in (("uint8", [255, 0, 255, 64]), ("int16", [301, -5, 32767, 64])):
        path = io.write(type(head)(x, np.eye(4)), tmp_path / f"{dtype}.nii.gz", dtype=dtype)
        image = nib.load(path)
        assert image.get_data_dtype() == np.dtype(dtype)
        assert image.get_fdata()[0, 0].tolist() == expected


def test_sheared_grid_is_kept_without_a_qform(tmp_path, head):
    affine = head.affine.copy()
    affine[1, 2] += 1
    path = io.write(type(head)(head.data, affine), tmp_path / "out.nii.gz")
    image = nib.load(path)
    assert image.affine == pytest.approx(affine, abs=1e-4)
    assert int(image.header["qform_code"]) == 0


def test_what_is_not_finite_is_never_written(tmp_path, head):
    x = head.data.clone()
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="1 voxels are NaN"):
        io.write(head.with_data(x), tmp_path / "out.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_refusals_before_the_work(tmp_path, head, nifti):
    source = nifti()
    link = tmp_path / "link.nii.gz"
    link.symlink_to(tmp_path / "elsewhere.nii.gz")
    hard = tmp_path / "hard.nii.gz"
    os.link(source, hard)
    for path, code in ((source, "E701"), (hard, "E701"), (link, "E706"), (tmp_path / f"{'é' * 130}.nii.gz", "E704")):
        with pytest.raises(Refusal, match=code):
            io.check_output(path, inputs=[source], overwrite=True)
    with pytest.raises(Refusal, match="E705"):
        io.check_output(source)
    for name in ("out", "out.img", "out.nii.bz2", "out.png"):
        with pytest.raises(UsageError):
            io.check_output(tmp_path / name)
    with pytest.raises(SetupError, match="E702"):
        io.check_output(source / "out.nii.gz")
    assert io.check_output(tmp_path / "new" / "deep" / "out.nii.gz").parent.is_dir()


def test_the_json_of_an_input_is_never_taken(tmp_path, head, nifti):
    source = nifti()
    (tmp_path / "scan.json").write_text('{"EchoTime": 0.1}')
    for name in ("scan.nii", "scan.mgz", "SCAN.nii"):
        with pytest.raises(Refusal, match="E701"):
            io.check_output(tmp_path / name, inputs=[source], overwrite=True)
    with pytest.raises(Refusal, match=r"E705 scan\.json is not of isomorph"):
        io.write(head, tmp_path / "scan.mgz", overwrite=True, sidecar={})
    assert (tmp_path / "scan.json").read_text() == '{"EchoTime": 0.1}'
    assert not (tmp_path / "scan.mgz").exists()


def test_both_halves_of_a_pair_are_guarded(tmp_path, head):
    nib.save(nib.Nifti1Pair(head.data[0].numpy(), head.affine), tmp_path / "pair.img")
    os.link(tmp_path / "pair.img", tmp_path / "other.nii")
    guard = io.Guard([tmp_path / "pair.hdr"])
    assert guard.harmed(tmp_path / "other.nii") == tmp_path / "pair.hdr"
    assert guard.harmed(tmp_path / "third.nii") is None


def test_a_folder_that_is_a_link_does_not_lead_out_of_the_output(tmp_path, head):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "alias").symlink_to(tmp_path / "out")  # the output itself may be a link
    with pytest.raises(Refusal, match="E706"):
        io.write(head, tmp_path / "out" / "sub" / "deep" / "t1.nii.gz", root=tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert io.check_output(tmp_path / "alias" / "t1.nii.gz", root=tmp_path / "alias")


@pytest.mark.parametrize("stage", ["staged", "rename"])
@pytest.mark.parametrize(("overwrite", "there"), [(False, False), (True, False), (True, True)])
def test_no_image_without_its_sidecar(tmp_path, head, monkeypatch, stage, overwrite, there):
    plain = getattr(writer, stage)

    def full(*args, **keywords):
        if args[-1 if stage == "rename" else 0].suffix == ".json":
            raise OSError(errno.ENOSPC, "full")
        return plain(*args, **keywords)

    path = tmp_path / "out.nii.gz"
    if there:
        io.write(head.with_data(head.data * 2), path, sidecar={})
    before = path.read_bytes() if there else b""
    monkeypatch.setattr(writer, stage, full)
    with pytest.raises(SetupError, match=r"E70\d") as error:
        io.write(head, path, sidecar={}, overwrite=overwrite)
    assert "nothing was left behind" in str(error.value)
    assert (path.read_bytes() if path.exists() else b"") == before
    assert len(list(tmp_path.iterdir())) == (2 if there else 0)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_several_outputs_appear_together_or_not_at_all(tmp_path, head, monkeypatch, there, links):
    names = ("map", "t1")
    outputs = [io.Output(volume=head, path=tmp_path / f"{name}.nii.gz", sidecar={"name": name}) for name in names]
    if there:
        other = head.with_data(head.data * 2)
        io.write_all([io.Output(volume=other, path=o.path, sidecar={}) for o in outputs])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == (4 if there else 0)

    def never(*_, **__):
        raise PermissionError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", never)
    plain = writer.rename
    for bad in ("map.nii.gz", "map.json", "t1.nii.gz", "t1.json"):

        def full(temporary, path, *, overwrite, bad=bad):
            if path.name == bad:
                raise OSError(errno.ENOSPC, "full")
            plain(temporary, path, overwrite=overwrite)

        monkeypatch.setattr(writer, "rename", full)
        with pytest.raises(SetupError, match="E703"):
            io.write_all(outputs, overwrite=there)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.setattr(writer, "rename", plain)
    io.write_all(outputs, overwrite=there)
    assert {path.name for path in tmp_path.iterdir()} == {"map.nii.gz", "map.json", "t1.nii.gz", "t1.json"}
    assert torch.equal(io.load(tmp_path / "map.nii.gz", kind="image").data, head.data)


def test_what_cannot_be_put_back_is_told(tmp_path, head, monkeypatch):
    path, plain = io.write(head, tmp_path / "t1.nii.gz", sidecar={}), writer.rename

    def broken(*_, **__):
        raise OSError(errno.EIO, "broken")

    def until_the_json(temporary, target, *, overwrite):
        plain(temporary, target, overwrite=overwrite)
        monkeypatch.setattr(os, "replace", broken)

    monkeypatch.setattr(writer, "rename", until_the_json)
    with pytest.raises(SetupError, match="E702 some outputs were replaced, others were not"):
        io.write(head.with_data(head.data * 2), path, sidecar={}, overwrite=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(SetupError, match="E702"):
        io.check_output(tmp_path / "closed" / "out.nii.gz")


def test_no_clobber_even_when_the_file_appears_late(tmp_path, head, monkeypatch):
    path = tmp_path / "out.nii.gz"
    verify = writer._verify

    def late(*args):
        verify(*args)
        path.write_bytes(b"theirs")

    monkeypatch.setattr(writer, "_verify", late)
    with pytest.raises(Refusal, match="E705"):
        io.write(head, path)
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_overwrite_replaces_and_permissions_follow_the_umask(tmp_path, head):
    path = io.write(head, tmp_path / "out.nii.gz", sidecar={})
    with pytest.raises(Refusal, match="E705"):
        io.write(head, path, sidecar={})
    io.write(head.with_data(head.data * 2), path, overwrite=True, sidecar={})
    assert torch.equal(io.load(path, kind="image").data, head.data * 2)
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_damaged_write_is_noticed(tmp_path, head, monkeypatch):
    fsync = os.fsync

    def damage(fd):
        fsync(fd)
        for path in tmp_path.glob(".*.tmp.*"):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    monkeypatch.setattr(place.os, "fsync", damage)
    with pytest.raises(SetupError, match="E703"):
        io.write(head, tmp_path / "out.nii.gz")
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
    import os, resource, sys, time
    import torch
    from isomorph import io, place
    from isomorph.io import writer
    from isomorph.volume import Volume
    import numpy as np
    torch.manual_seed(0)
    volume = Volume(torch.rand(1, 60, 60, 60), np.eye(4))
"""


def program(text):
    return [sys.executable, "-c", textwrap.dedent(PROGRAM) + textwrap.dedent(text)]


def test_full_disk_leaves_nothing(tmp_path):
    text = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        io.write(volume, sys.argv[1], sidecar={})
    except Exception as error:
        print(type(error).__name__, error)
    """
    done = subprocess.run([*program(text), str(tmp_path / "out.nii.gz")], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("SetupError E703")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["_verify", "rename"])
def test_killed_in_the_middle_nothing_is_at_the_final_path(tmp_path, stage):
    text = f"""
    def hold(*args, **keywords):
        print("now", flush=True)
        time.sleep(60)
    writer.{stage} = hold
    io.write(volume, sys.argv[1], sidecar={{}})
    """
    path = tmp_path / "out.nii.gz"
    with subprocess.Popen([*program(text), str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    assert not io.sidecar_path(path).exists()
    assert io.survey([tmp_path]) == ([], [])


def test_no_identity_and_no_touch(tmp_path, nifti):
    source = nifti("in.nii.gz", descrip=b"ZZCANARY^PHI", aux_file=b"ZZCANARY", db_name=b"ZZCANARY")
    before = source.read_bytes()
    scan = io.read(source)
    for end in ENDS:
        path = io.write(scan.volume, tmp_path / f"out{end}", sidecar={"input": scan.source}, overwrite=True)
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        assert b"ZZCANARY" not in content + io.sidecar_path(path).read_bytes()
    assert source.read_bytes() == before


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
def test_an_image_is_saved_as_the_numbers_it_holds(kind, tmp_path):
    volume = Volume(torch.arange(24, dtype=getattr(torch, kind)).view(1, 2, 3, 4), np.eye(4))
    assert nib.load(writer.save(volume, tmp_path / "x.nii")).get_data_dtype() == np.dtype(kind)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_json_of_others_is_no_obstacle_where_none_is_written(tmp_path, head, overwrite):
    path, beside = tmp_path / "sub-01_T1w.nii.gz", tmp_path / "sub-01_T1w.json"
    for text in ('{"EchoTime": 0.1}', '{"tool": "isomorph", "draws": {}}', "["):
        beside.write_text(text)
        io.save(head, path, overwrite=overwrite)
        assert beside.read_text() == text
        path.unlink()
    beside.unlink()
    beside.symlink_to(tmp_path / "elsewhere.json")
    io.save(head, path, overwrite=overwrite)
    assert beside.is_symlink()


def test_a_json_of_ours_goes_with_the_image_that_it_describes(tmp_path, head):
    path, other = tmp_path / "t1.nii.gz", head.with_data(head.data * 2)
    io.write(head, path, sidecar={})
    io.save(other, path, overwrite=True)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.equal(io.load(path).data, other.data)
    io.write(head, path, sidecar={}, overwrite=True)
    with pytest.raises(Refusal, match="E705"):
        io.save(other, path)
    path.unlink()
    with pytest.raises(Refusal, match=r"E705 t1\.json"):  # it would be false of the new image
        io.save(other, path)
    io.save(other, path, overwrite=True)  # and of a run that was killed before it was removed
    assert list(tmp_path.iterdir()) == [path]


def test_a_json_that_is_true_of_another_image_stays(tmp_path, head):
    io.write(head, tmp_path / "t1.mgz", sidecar={})
    before = (tmp_path / "t1.json").read_bytes()
    for overwrite in (False, True):
        io.save(head, tmp_path / "t1.nii.gz", overwrite=overwrite)
    assert (tmp_path / "t1.json").read_bytes() == before
    assert io.check(tmp_path / "t1.mgz").codes == ["E505"]


@pytest.mark.parametrize("where", ["unlink", "sync"])
def test_a_json_of_ours_is_put_back_should_its_removal_fail(tmp_path, head, monkeypatch, where):
    path = io.write(head, tmp_path / "t1.nii.gz", sidecar={})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    unlink = Path.unlink

    def full(file, **keywords):
        if where == "sync" or file.name == "t1.json":
            raise OSError(errno.EIO, "broken")
        unlink(file, **keywords)

    monkeypatch.setattr(*((Path, "unlink") if where == "unlink" else (writer, "sync")), full)
    with pytest.raises(SetupError, match="E702"):
        io.save(head.with_data(head.data * 2), path, overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
