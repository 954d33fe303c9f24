"""The documentation cannot lie: its code runs, its links lead somewhere, its tables say what the code says."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isomorph import cli, config
from isomorph.losses import LOSSES
from isomorph.nets import NETWORKS
from isomorph.synth import ANATOMY, CONTRASTS, CORRUPTIONS, Generator, Motion
from isomorph.weights import file as weights

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXECUTED = ("README.md", "docs/quickstart.md", "docs/add-your-own.md")
RECIPES = (ROOT / "docs/recipes.md").read_text()
SECTIONS = {
    "Top level": config.Recipe,
    "`[network]`": config.Network,
    "`[training]`": config.Training,
    "`[[training.stages]]`": config.Stage,
    **{f"`[generator.{name}]`": cls for name, cls in (ANATOMY | CORRUPTIONS | {"motion": Motion}).items()},
    "`[generator.contrast]`": CONTRASTS["mixture"],
    **{f"Contrast `{name}`": cls for name, cls in CONTRASTS.items() if name != "mixture"},
}


def code(text: str, language: str) -> list[str]:
    """Fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path: Path, phantom_file: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: their scan, ``scan.nii.gz``, a T1 of the same head, and a default model that is quick."""
    assert phantom_file == tmp_path / "scan.nii.gz"
    shutil.copy(phantom_file, tmp_path / "real_t1.nii.gz")
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    shutil.copy(model_file, shipped / "default.safetensors")
    monkeypatch.setattr(weights, "SHIPPED", shipped)
    monkeypatch.setattr("isomorph.evaluate.brain.rough_brain_mask", lambda t1: t1.data[0] > 0)  # no brain comes out
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def registries() -> Iterator[None]:
    """What a page registers is forgotten after it."""
    before = [(registry, dict(registry)) for registry in (CORRUPTIONS, CONTRASTS, NETWORKS, LOSSES)]
    yield
    for registry, content in before:
        registry.clear()
        registry.update(content)


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("page", EXECUTED)
def test_the_python_of_a_page_runs_as_one_session(page: str, reader: Path) -> None:
    blocks = code((ROOT / page).read_text(), "python")
    session: dict[str, object] = {"__name__": "a_page"}
    assert blocks
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec", dont_inherit=True), session)
    if page == "README.md":
        assert (reader / "mine_desc-synth_T1w.nii.gz").exists()


def test_the_ten_lines_are_ten_lines() -> None:
    (block,) = code((ROOT / "README.md").read_text(), "python")
    assert len([line for line in block.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for picture, said, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert there.resolve().is_relative_to(ROOT)
        assert not picture or len(said) > 20, f"{target} has no text for those who cannot see it"
        assert not anchor or anchor in headings(there), f"{page.name}: {target}"


def headings(page: Path) -> list[str]:
    """Anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_and_options_exist(page: Path) -> None:
    text = page.read_text()
    shown = "\n".join([*code(text, "bash"), *re.findall(r"`([^`\n]+)`", text)])
    commands = set(re.findall(r"\bisomorph ([a-z][a-z-]*)\b", shown))
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    assert commands <= known
    helps = "".join(CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, [name, "--help"]).stdout for name in known)
    helps += CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["--help"]).stdout
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z_-]*", shown)) - {"--index-url"}:
        assert re.search(rf"{option}\b(?!-)", helps), f"{page.name}: {option}"


def test_each_command_of_the_readme_is_in_the_help() -> None:
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["--help"]).stdout
    for command in set(re.findall(r"^isomorph ([a-z]+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE)):
        assert re.search(rf"\W{command} ", shown), command


def section(title: str) -> str:
    """The part of the recipe page below a heading."""
    _, _, rest = RECIPES.partition(f"## {title}\n")
    assert rest, f"docs/recipes.md has no section {title}"
    return rest.split("\n## ")[0]


def plain(value: object) -> object:
    """A default as JSON and TOML know it."""
    return [plain(v) for v in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize(("title", "cls"), SECTIONS.items(), ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_every_recipe_field_is_documented_with_its_default(title: str, cls: type) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section(title), flags=re.MULTILINE))
    fields = {field.name: field for field in dataclasses.fields(cls)}
    assert rows.keys() - {"kind"} == fields.keys() - {"kind"}
    for name, said in rows.items():
        if name not in fields or not said.startswith("`"):
            continue  # explained in words
        field = fields[name]
        default = field.default_factory() if callable(field.default_factory) else field.default
        assert tomllib.loads(f"x = {said.strip('`')}")["x"] == plain(default), f"{title} {name}"


def test_the_options_of_the_generator_are_documented_with_their_defaults() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section("`[generator]`"), flags=re.MULTILINE))
    assert rows.keys() == {*config.OPTIONS, "order", "channels"}
    for name in config.OPTIONS:
        assert tomllib.loads(f"x = {rows[name].strip('`')}")["x"] == getattr(Generator(), name), name


def test_the_default_order_of_corruptions_is_documented() -> None:
    (said,) = re.findall(r"^\| `order` \| `([^|]+)` \|", section("`[generator]`"), flags=re.MULTILINE)
    assert tomllib.loads(f"x = {said}")["x"] == config.to_dict(config.from_dict({"name": "x"}))["generator"]["order"]


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    raised = set(re.findall(r"""["'f]([EW]\d{3})\b""", source))
    documented = re.findall(r"^\| ([EW]\d{3}) \|", (ROOT / "docs/codes.md").read_text(), flags=re.MULTILINE)
    assert sorted(documented) == sorted(set(documented))
    assert raised == set(documented)


def test_the_model_card_names_who_was_held_out() -> None:
    card = (ROOT / "docs/model-cards/default.md").read_text()
    paragraph = card.split("Held out by person")[1].split("\n\n")[1]
    assert tuple(re.findall(r"`([^`]+)`", paragraph)) == config.load("default").held_out


def test_the_citation_file_is_whole() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert "\t" not in text
    for line in text.splitlines():
        assert re.fullmatch(r'( {2})*(- )?([a-z-]+:( ("[^"]*"|[^"{}:]+))?|\{.*\}|[A-Za-z -]+)', line), line
        assert line.count('"') % 2 == 0
    top = dict(re.findall(r"^([a-z-]+):(.*)$", text, flags=re.MULTILINE))
    assert {"cff-version", "message", "title", "authors", "version", "license", "references"} <= top.keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert top["version"].strip() == project["version"]
    assert top["license"].strip() == project["license"]
    for doi in ("10.1016/j.neuroimage.2021.118206", "10.1126/sciadv.add3607"):
        assert f"doi: {doi}\n" in text


def test_what_it_is_not_is_said() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(word in readme for word in ("Not a medical device", "Not anonymous", "diagnosis", "face"))
    assert "72 hours" in (ROOT / "SECURITY.md").read_text()


def test_the_changelog_begins_with_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    first = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[0]
    assert first.rstrip(",") == version
