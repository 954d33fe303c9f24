"""The plan of the house, kept honest: which room knows of which, how large rooms are, and what is never called."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import isomorph

SOURCE = Path(isomorph.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES}
TREES = {path: ast.parse(path.read_text()) for path in FILES}

FILE, FUNCTION, NAMES = 300, 60, 12  # lines, lines of code, public names

# What each room may know of; a room that is not listed may know of everything but the command line.
MAY = {
    "errors": set(),
    "volume": set(),
    "intensity": set(),
    "profile": set(),
    "place": set(),
    "console": set(),
    "heap": set(),
    "interrupt": set(),
    "labels": set(),
    "similarity": set(),
    "structures": {"labels"},
    "device": {"errors"},
    "ants": {"volume", "errors"},
    "align": {"volume", "ants"},
    "losses": {"similarity"},
    "nets": {"space"},
    "space": {"volume", "profile"},
    "io": {"volume", "space", "errors", "intensity", "place"},
    "synth": {"volume", "space", "labels", "intensity", "profile"},
    "evaluate": {"volume", "space", "io", "intensity", "labels", "profile", "errors"} | {"similarity"},
    "weights": {"nets", "errors", "place"},
    "include": {"synth", "errors"},
    "pairs": {"io", "errors"},
    "priors": {"volume", "space", "io", "labels", "intensity", "errors", "place", "pairs"},
    "override": {"errors"},
    "config": {"override", "include", "nets", "losses", "synth", "structures", "errors"},
    "report": {"volume", "space", "intensity", "errors", "place", "labels"},
    "train": {"volume", "space", "io", "labels", "losses", "nets", "synth", "config", "weights", "errors", "place"}
    | {"interrupt", "structures", "ants", "device", "heap"},
    "predict": {"volume", "space", "io", "nets", "intensity", "weights", "errors", "interrupt", "align"}
    | {"profile", "labels", "place", "device", "heap"},
}

# Libraries that read images, and the only files that may know of them.
IMAGE_LIBRARIES = {
    "nibabel": ("io/", "train/corpus.py"), "nilearn": ("demo.py", "train/carry.py"),
    "ants": ("ants.py",),
}  # fmt: skip

FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "shelve", "marshal", "joblib", "cloudpickle"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.save", "os.system", "os.popen", "yaml.load",
    "tempfile.mktemp", "torch.hub.load", "numpy.lib.format.read_array",
}  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Absolute dotted names of everything a file imports, wherever in the file."""
    package = ["isomorph", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = [*above, *((node.module or "").split(".") if node.module else [])]
            yield from (".".join([*start, alias.name]) for alias in node.names)


def rooms_known(path: Path) -> set[str]:
    """Rooms of this package that a file imports from."""
    parts = [dotted.split(".") for dotted in imports(path)]
    return {p[1] for p in parts if p[0] == "isomorph" and len(p) > 1 and p[1] in ROOMS}


def dotted(node: ast.expr) -> str:
    """The name that a call is made by, such as ``torch.load``."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def aliases(path: Path) -> dict[str, str]:
    """What a name in a file stands for: ``np`` for numpy, ``load`` for ``torch.load``."""
    table = {}
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            table |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            table |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return table


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call of a file, with its true name."""
    table = aliases(path)
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call) and (said := dotted(node.func)):
            first, point, rest = said.partition(".")
            yield node, table.get(first, first) + point + rest


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef, text: list[str]) -> int:
    """Lines of a function without its docstring and without blank lines."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    first = body[0].lineno if body else function.lineno
    signature = text[function.lineno - 1 : function.body[0].lineno - 1]
    return sum(bool(line.strip()) for line in [*signature, *text[first - 1 : function.end_lineno]])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_arrows_point_one_way(path: Path) -> None:
    known = rooms_known(path) - {room(path)}
    assert known <= MAY.get(room(path), ROOMS - {"cli"}), f"{name_of(path)} must not know of these"
    assert "cli" not in known


def test_every_room_that_is_listed_is_there() -> None:
    assert set(MAY) <= ROOMS


def test_train_predict_and_evaluate_never_import_each_other() -> None:
    three = {"train", "predict", "evaluate"}
    assert all(not MAY[one] & three for one in three)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_one_room_touches_image_files(path: Path) -> None:
    for module in imports(path):
        allowed = IMAGE_LIBRARIES.get(module.split(".")[0])
        assert allowed is None or name_of(path).startswith(allowed), module


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_sizes(path: Path) -> None:
    text = path.read_text().splitlines()
    assert len(text) <= FILE
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert lines_of_code(node, text) <= FUNCTION, node.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_that_can_run_foreign_code_is_called(path: Path) -> None:
    assert not {module.split(".")[0] for module in imports(path)} & FORBIDDEN_MODULES
    for node, said in calls(path):
        where = f"{name_of(path)}:{node.lineno} {said}"
        assert said not in FORBIDDEN_CALLS, where
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        assert "allow_pickle" not in given, where
        shell = given.get("shell")
        assert shell is None or (isinstance(shell, ast.Constant) and shell.value is False), where
        assert not said.endswith("extractall") or "filter" in given, where


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from torch import load\nload('x')", "import torch as t\nt.save(1, 'x')", "eval('1')",
        "import subprocess\nsubprocess.run('ls', shell=True)", "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import os\nos.system('ls')",
    ],
)  # fmt: skip
def test_the_ban_would_be_noticed(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = SOURCE / "volume.py"
    monkeypatch.setitem(TREES, path, ast.parse(code))
    with pytest.raises(AssertionError):
        test_nothing_that_can_run_foreign_code_is_called(path)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("synth/bias.py", "from ..io import load"), ("synth/bias.py", "from .. import io"),
        ("predict/run.py", "from ..train import loop"), ("progress.py", "from . import cli"),
        ("io/nifti.py", "from isomorph.predict import run"), ("volume.py", "from .space import resample"),
    ],
)  # fmt: skip
def test_a_wrong_arrow_would_be_noticed(file: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TREES, SOURCE / file, ast.parse(code))
    with pytest.raises(AssertionError):
        test_arrows_point_one_way(SOURCE / file)


@pytest.mark.parametrize("code", ["import isomorph", "import isomorph.cli", "import isomorph; isomorph.__version__"])
def test_the_front_door_is_light(code: str) -> None:
    heavy = ("torch", "numpy", "nibabel", "pydantic", "safetensors")
    ask = f"{code}\nimport sys\nprint([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_does_not_import_torch() -> None:
    ask = (
        "import sys; sys.argv = ['isomorph', '--help']\n"
        "import isomorph.cli\n"
        "try:\n    isomorph.cli.main()\n"
        "except SystemExit:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_the_front_door_is_small_and_every_name_opens() -> None:
    assert len(isomorph.__all__) <= NAMES
    for name in isomorph.__all__:
        assert getattr(isomorph, name) is not None
        assert name in dir(isomorph)
    with pytest.raises(AttributeError, match="no attribute 'synthesize'"):
        isomorph.synthesize  # noqa: B018
