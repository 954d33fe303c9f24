"""A file is whole or not there."""

from __future__ import annotations

import errno
import os
import stat
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from isomorph import place as module
from isomorph.place import place


def test_content_permissions_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    place(path, b"one")
    place(path, b"two")
    assert path.read_bytes() == b"two"
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_there_stays_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        place(path, b"ours", overwrite=False)
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_nothing_is_replaced_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", never)
    place(tmp_path / "a", b"ours", overwrite=False)
    with pytest.raises(FileExistsError):
        place(tmp_path / "a", b"again", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"ours"


@pytest.mark.parametrize("number", [45, 102])
def test_a_mac_has_two_numbers_for_no_hard_links(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise OSError(number, "Operation not supported")

    monkeypatch.setattr(errno, "ENOTSUP", 45)
    monkeypatch.setattr(errno, "EOPNOTSUPP", 102)
    spec = spec_from_file_location("place_on_a_mac", module.__file__)
    assert spec
    assert spec.loader
    on_a_mac = module_from_spec(spec)
    spec.loader.exec_module(on_a_mac)
    monkeypatch.setattr(os, "link", never)
    on_a_mac.place(tmp_path / "a", b"ours", overwrite=False)
    with pytest.raises(FileExistsError):
        on_a_mac.place(tmp_path / "a", b"again", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"ours"


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True), (errno.ENOSPC, True)]
)
def test_a_folder_that_cannot_be_flushed_is_no_failure(
    number: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def refused(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        flush(fd)

    monkeypatch.setattr(os, "fsync", refused)
    if told:
        with pytest.raises(OSError, match=os.strerror(number)):
            place(tmp_path / "a", b"ours")
    else:
        place(tmp_path / "a", b"ours")
    assert (tmp_path / "a").read_bytes() == b"ours"


def test_a_file_that_cannot_be_flushed_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        place(tmp_path / "a", b"ours")
    assert not list(tmp_path.iterdir())


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    place(tmp_path / "a", b"ours")
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert not (tmp_path / "a").is_symlink()


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "full")

    path = tmp_path / ("n" * 250)
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        place(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
