"""What an ablation measures: the same head ill and healthy, and differences of pairs."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from brains import brain
from phantoms import centred

from isomorph import config
from isomorph.synth import Deform, Generator, Pathology


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import ablation

    yield ablation
    monkeypatch.delitem(sys.modules, "ablation")


SHAPE = (80, 96, 80)
MAP = brain(SHAPE, centred(SHAPE, 2 * np.eye(3)))


def drawn(**pathology: float):
    generator = Generator(deform=Deform(size=(0, 0, 0), spacing=2.0), pathology=Pathology(**pathology))
    return generator, generator.draw(Random(1))


def test_the_healthy_twin_differs_where_the_head_is_ill(ablation):
    generator, draw = drawn(sclerosis=1.0, sclerosis_load=(8.0, 9.0))
    draw["channels"][0]["contrast"]["means"]["lesion"] = 2.0  # bright: all else gets a little darker
    sample = ablation.pair(generator, MAP, None, draw)
    apart = (sample.sick - sample.healthy).abs()[0]
    assert sample.ill.sum() > 500  # of 8 mm3
    assert apart[sample.ill].mean() > 5 * apart[~sample.ill].mean()
    assert torch.equal(sample.target, ablation.pair(generator, MAP, None, draw).target)


def test_a_healthy_head_has_nothing_to_inpaint(ablation):
    generator, draw = drawn()
    sample = ablation.pair(generator, MAP, None, draw)
    assert not sample.ill.any()
    assert torch.equal(sample.sick, sample.healthy)


def test_where_a_tumour_pushes_there_is_no_twin(ablation):
    generator, draw = drawn(tumour=1.0, tumour_push=(6.0, 8.0))
    sample = ablation.pair(generator, MAP, None, draw)
    assert torch.equal(sample.sick, sample.healthy)
    assert not sample.ill.any()


def test_without_a_map_held_out_it_ends_in_one_line(ablation, monkeypatch, tmp_path):
    monkeypatch.setattr(ablation, "available", lambda corpus: {})
    with pytest.raises(SystemExit, match="no label map"):
        next(ablation.pairs(tmp_path, config.load("default"), 1))


def test_differences_are_paired_and_what_was_not_measured_is_left_out(ablation):
    first = [{"SSIM": x} for x in (0.5, 0.7, 0.9, np.nan)]
    second = [{"SSIM": x} for x in (0.6, 0.9, 1.0, np.nan)]
    assert ablation.cell(first, first, "SSIM") == "0.700"
    assert ablation.cell(second, first, "SSIM") == "0.833 (+0.133 ± 0.033)"


@pytest.mark.parametrize("networks", [["model"], ["=model"], ["a="], ["a=one", "a=two"]])
def test_networks_that_cannot_be_told_apart_are_one_line(networks, ablation, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ablation.py", "corpus", *networks])
    with pytest.raises(SystemExit, match="2"):
        ablation.main()
    assert capsys.readouterr().err.endswith("error: each network is NAME=MODEL, and each NAME another\n")
