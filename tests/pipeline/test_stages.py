from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from patchrerank.errors import EncoderError, SettingError
from patchrerank.fusion import Fusion
from patchrerank.pipeline import StageSpec, make_cascade, parse_stages
from patchrerank.pipeline.stages import needs_local
from patchrerank.rerankers import Patchify, RefineBoxes


def test_parse_stages():
    assert parse_stages("patchify:400, chamfer:100:0.5:2") == [
        StageSpec("patchify", 0.0, 1.0, 400),
        StageSpec("chamfer", 0.5, 2.0, 100),
    ]
    assert parse_stages("patchify") == [StageSpec.of("patchify", Fusion())]
    assert parse_stages("x:all:0.25") == [StageSpec("x", 0.25, 1.0, None)]
    for wrong, what in [
        ("patchify:x", "malformed"),
        ("patchify:1:2:3:4", "malformed"),
        (":3", "names no reranker"),
        ("patchify:1:2", "lam must"),
        ("", "names no"),
    ]:
        with pytest.raises(SettingError, match=what):
            parse_stages(wrong)


def test_text_of_a_stage_is_parsed_to_the_same_stage():
    for spec in (StageSpec("a", 0.1, 3.25, 7), StageSpec.of("b+refine", Fusion())):
        assert parse_stages(str(spec)) == [spec]


def test_make_cascade_from_text_and_from_specs(tiny_gallery):
    text = "patchify+refine:8,query-expansion:4:0.5:2"
    for stages in (text, parse_stages(text)):
        cascade = make_cascade(stages, tiny_gallery, query_crop="box")
        first, second = cascade.stages
        assert isinstance(first.reranker, RefineBoxes)
        assert isinstance(first.reranker.reranker, Patchify)
        assert first.fusion == Fusion(0.0, 1.0, 8)
        assert (second.reranker.name, second.fusion) == ("query-expansion", Fusion(0.5, 2.0, 4))
        assert cascade.query_crop == "box"
        assert cascade.calibration is None
    with pytest.raises(SettingError, match="did you mean chamfer"):
        make_cascade("chamber+refine", tiny_gallery)


def test_a_refinement_by_patches_alone(tiny_gallery):
    (stage,) = make_cascade("patchify+refine-patches:8", tiny_gallery).stages
    assert isinstance(stage.reranker, RefineBoxes)
    assert (stage.reranker.evidence, stage.reranker.reads) == ("patches", {"patches"})
    assert parse_stages("a+refine-patches:3:0.5:2") == [StageSpec("a+refine-patches", 0.5, 2.0, 3)]
    assert not needs_local("patchify+refine-patches")
    assert needs_local("chamfer+refine-patches")
    with pytest.raises(SettingError, match=r"unknown.*\+refine or \+refine-patches"):
        make_cascade("patchify+refine-local", tiny_gallery)


def test_learned_rerankers_name_their_weights(tiny_gallery):
    with pytest.raises(SettingError, match=r"'ames' needs its weights.*ames@weights\.pt"):
        make_cascade("ames:100", tiny_gallery)
    with pytest.raises(SettingError, match="patchify has no weights"):
        make_cascade("patchify@weights.pt:100", tiny_gallery)
    with pytest.raises(EncoderError, match=r"nowhere\.pt"):
        make_cascade("elvis@nowhere.pt+refine:100", tiny_gallery)


def test_a_learned_reranker_is_made_from_its_file(tiny_gallery):
    weights = Path(__file__).parents[1] / "reference" / "e2e" / "ames" / "checkpoint.pt"
    cascade = make_cascade(f"ames@{weights}:100:0.55:0.3", tiny_gallery)
    assert cascade.stages[0].reranker.name == "ames"
    assert cascade.stages[0].fusion == Fusion(0.55, 0.3, 100)


def test_a_stage_is_checked_when_it_is_made_and_its_json_has_four_keys():
    spec = StageSpec.of("chamfer", Fusion(1, 2, 3))
    assert asdict(spec) == {"reranker": "chamfer", "lam": 1.0, "gamma": 2.0, "shortlist_size": 3}
    assert (spec.used, replace(spec, shortlist_size=0).used) == (True, False)
    with pytest.raises(SettingError, match="lam must lie"):
        StageSpec("chamfer", 1.5, 1.0, None)


def test_which_stages_compare_local_descriptors():
    for stages in ("patchify:400,chamfer:100", "ames@weights.pt:100", "patchify+refine"):
        assert needs_local(stages)
    assert not needs_local("patchify:400,query-expansion:100")
    with pytest.raises(SettingError, match="did you mean chamfer"):
        needs_local("patchify,chamber")


def test_all_that_reranks_a_search_begins_alike():
    from patchrerank.cli import options
    from patchrerank.fusion import DEFAULT_FUSION
    from patchrerank.pipeline import DEFAULT_STAGES

    assert (DEFAULT_FUSION.lam, DEFAULT_FUSION.gamma) == (options.LAM, options.GAMMA)
    assert [stage.fusion for stage in parse_stages(DEFAULT_STAGES)] == [DEFAULT_FUSION]
