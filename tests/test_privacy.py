"""Who was scanned, where and by whom goes nowhere."""

from __future__ import annotations

import base64
import getpass
import gzip
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import nibabel as nib
from nibabel.nifti1 import Nifti1Extension

from isomorph.volume import Volume

CANARY = "ZZCANARY"


def test_nothing_about_the_patient_or_the_user_leaves_predict(
    phantom: Volume, model_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / f"{CANARY}_folder"
    folder.mkdir()
    image = nib.Nifti1Image(phantom.data[0].numpy(), phantom.affine)
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = f"{CANARY}^PHI".encode()
    image.header.extensions.append(Nifti1Extension("comment", f"{CANARY} in an extension".encode()))
    nib.save(image, folder / "scan.nii.gz")
    (folder / "scan.json").write_text(f'{{"PatientName": "{CANARY}"}}')
    user = f"{CANARY}user"
    out, report = tmp_path / "out", ("--report", tmp_path / "page.html")
    done = subprocess.run(
        [sys.executable, "-m", "isomorph.cli", "predict", folder, out, "--model", model_file, "--no-flip", *report],
        capture_output=True,
        text=True,
        env=os.environ | {"USER": user, "LOGNAME": user, "HOSTNAME": f"{CANARY}host", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    written = {path: path.read_bytes() for path in (*out.rglob("*"), tmp_path / "page.html") if path.is_file()}
    assert len(written) == 3  # image, sidecar, report
    images = [gzip.decompress(c) for c in written.values() if c[:2] == b"\x1f\x8b"]
    texts = [c for c in written.values() if c[:2] != b"\x1f\x8b"] + [done.stdout.encode(), done.stderr.encode()]
    picture = re.compile(rb'base64,([^"]+)')
    images += [base64.b64decode(found) for text in texts for found in picture.findall(text)]
    assert len(images) == 3
    readable = b"".join(picture.sub(b"", text) for text in texts)
    for secret in (CANARY, str(tmp_path)):
        assert secret.encode() not in b"".join([readable, *images])
    for word in (socket.gethostname(), f"/{getpass.getuser()}/"):  # short: by chance within the noise of an image
        assert not re.search(rf"(?<!\w){re.escape(word)}(?!\w)".encode(), readable), word
