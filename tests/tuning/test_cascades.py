from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from patchrerank.analysis import measure, relevance_of
from patchrerank.errors import SettingError, TableError
from patchrerank.fusion import Fusion
from patchrerank.metrics import parse_convention
from patchrerank.pipeline import Cascade, Stage, StageSpec
from patchrerank.tuning.fused.heads import descending
from patchrerank.tuning.tables.build_table import TableOptions, build_table
from patchrerank.tuning.tables.cascades import evaluate_stages
from synthetic import random_table, slow_stages

CONVENTIONS = ("full", "revisited", "@4", "ilias@5", "ames-rectangular", "ames-trapezoidal@4")


@st.composite
def cascades(draw):
    sizes = sorted(draw(st.lists(st.integers(1, 14), min_size=1, max_size=3)), reverse=True)
    lams = st.sampled_from([0.0, 1.0, 0.3, 0.5])
    gammas = st.sampled_from([0.0, 0.5, 2.0, 60.0])
    stages = [
        StageSpec(draw(st.sampled_from("ab")), draw(lams), draw(gammas), size) for size in sizes
    ]
    for place in draw(st.lists(st.integers(0, len(stages)), max_size=2)):
        stages.insert(place, StageSpec("b", 0.5, 1.0, 0))
    return stages


@given(st.integers(0, 50), cascades(), st.sampled_from(CONVENTIONS), st.booleans(), st.booleans())
@hypothesis_settings(max_examples=150)
def test_stages_equal_the_slow_twin(seed, stages, convention, coarse, whole_image):
    table = random_table(seed, coarse=coarse, convention=parse_convention(convention))
    result = evaluate_stages(table, stages, whole_image=whole_image)
    order, precisions, located = slow_stages(table, stages, whole_image)
    assert np.array_equal(result.order, order)
    np.testing.assert_array_equal(result.AP, precisions)
    np.testing.assert_allclose(result.LocScore, located, rtol=1e-12)


@pytest.fixture(scope="module")
def built(tmp_path_factory, scorer, small_shortlist):
    folder = tmp_path_factory.mktemp("table") / "t"
    return build_table(folder, scorer, small_shortlist, TableOptions(progress=False))


@pytest.mark.parametrize(
    "stages",
    [
        [StageSpec("patchify", 0.3, 4.0, 20)],
        [StageSpec("patchify", 0.0, 1.0, None)],
        [StageSpec("table", 1.0, 1.0, 7)],
        [StageSpec("patchify", 0.0, 0.0, 9), StageSpec("plain", 0.2, 1.0, 9)],
        [
            StageSpec("patchify", 0.4, 2.0, 25),
            StageSpec("table", 0.2, 0.7, 10),
        ],
        [
            StageSpec("table", 0.0, 1.0, 30),
            StageSpec("patchify", 0.6, 5.0, 12),
        ],
        [
            StageSpec("table", 0.1, 1.0, 0),
            StageSpec("patchify", 0.6, 5.0, 12),
        ],
        [
            StageSpec("patchify", 0.5, 3.0, 28),
            StageSpec("table", 0.3, 1.0, 15),
            StageSpec("plain", 0.7, 2.0, 5),
        ],
        [
            StageSpec("query-expansion", 0.5, 2.0, 8),
            StageSpec("table", 0.3, 1.0, 8),
        ],
    ],
)
def test_the_table_gives_what_the_cascade_gives(
    stages, built, scorer, small_dataset, small_shortlist
):
    """The whole way: real rerankers on a gallery, Cascade.rerank, relevance_of, measure."""
    cascade = Cascade([Stage(scorer.rerankers[one.reranker], one.fusion) for one in stages])
    ranking = cascade.rerank(scorer.queries, small_shortlist)
    metrics, precisions = measure(
        relevance_of(ranking, scorer.gallery, small_dataset), ranking, built.convention
    )
    result = evaluate_stages(built, stages)
    rows = np.take_along_axis(built.rows, result.order, axis=1)
    assert np.array_equal(rows, ranking.rows)
    np.testing.assert_array_equal(result.AP, precisions)
    assert result.metrics["mAP"] == metrics["mAP"]
    assert result.metrics["LocScore"] == metrics["LocScore"]


def test_no_stages_are_the_first_stage_with_the_whole_image_as_box():
    table = random_table(3)
    result = evaluate_stages(table, [])
    assert np.array_equal(result.order, np.tile(np.arange(table.size), (len(table), 1)))
    _, precisions, located = slow_stages(table, [], whole_image=True)
    np.testing.assert_array_equal(result.AP, precisions)
    np.testing.assert_allclose(result.LocScore, located)
    assert (result.milliseconds, result.bytes_per_image) == (0.0, 0.0)


def test_costs_add_up_and_bytes_read_twice_count_once():
    table = random_table(1)
    result = evaluate_stages(table, [StageSpec("a", 0.5, 1.0, 10), StageSpec("b", 0.5, 1.0, 4)])
    assert result.milliseconds == pytest.approx((2 + 10 * 0.5) + (2 + 4 * 0.5))
    assert result.bytes_per_image == pytest.approx(100 + 10 + 10)
    unknown = evaluate_stages(replace(table, costs={}), [StageSpec.of("a", Fusion())])
    assert np.isnan(unknown.milliseconds)
    assert np.isnan(unknown.bytes_per_image)


def test_growing_sizes_and_strangers_are_refused():
    table = random_table(0)
    with pytest.raises(SettingError, match="grow"):
        evaluate_stages(table, [StageSpec("a", 0.5, 1.0, 3), StageSpec("b", 0.5, 1.0, 4)])
    with pytest.raises(SettingError, match="grow"):
        evaluate_stages(
            table,
            [StageSpec("a", 0.5, 1.0, 3), StageSpec("b", 0.5, 1.0, None)],
        )
    with pytest.raises(SettingError, match="'c' is not in this table"):
        evaluate_stages(table, [StageSpec.of("c", Fusion())])


def test_scores_that_lack_are_an_error_or_asked_for():
    table = random_table(4, holes=False)
    scores = table.local_scores["b"].copy()
    scores[:, 6:] = np.nan
    lacking = replace(table, local_scores={**table.local_scores, "b": scores})
    evaluate_stages(lacking, [StageSpec("b", 0.5, 1.0, 6)])
    stages = [StageSpec("a", 0.0, 1.0, 12), StageSpec("b", 0.2, 1.0, 5)]
    with pytest.raises(TableError, match="pairs have no local score of 'b' yet"):
        evaluate_stages(lacking, stages)
    asked = []

    def missing(now, name, wanted):
        asked.append((name, wanted.copy()))
        known = np.where(wanted, table.local_scores[name], now.local_scores[name])
        return replace(now, local_scores={**now.local_scores, name: known})

    result = evaluate_stages(lacking, stages, missing)
    np.testing.assert_array_equal(result.AP, evaluate_stages(table, stages).AP)
    (name, wanted), head = asked[0], evaluate_stages(table, stages[:1]).order[:, :5]
    assert (name, len(asked)) == ("b", 1)
    expected = np.zeros_like(wanted)
    np.put_along_axis(expected, head, True, axis=1)
    assert np.array_equal(wanted, expected & np.isnan(scores)), "only what lacks is asked for"


def test_list_depths_are_kept():
    table = replace(random_table(2, holes=False), list_depths={"a": 5})
    evaluate_stages(table, [StageSpec("a", 0.5, 1.0, 5), StageSpec("b", 0.5, 1.0, 3)])
    evaluate_stages(table, [StageSpec("b", 0.5, 1.0, 0), StageSpec("a", 0.5, 1.0, 5)])
    with pytest.raises(TableError, match="at least 5"):
        evaluate_stages(table, [StageSpec("a", 0.5, 1.0, 4)])
    with pytest.raises(TableError, match="first stage"):
        evaluate_stages(table, [StageSpec("b", 0.5, 1.0, 8), StageSpec("a", 0.5, 1.0, 8)])


def test_unknown_overlaps_give_no_locscore():
    table = random_table(2)
    known = {name: values for name, values in table.overlaps.items() if name != "b"}
    result = evaluate_stages(replace(table, overlaps=known), [StageSpec("b", 0.5, 1.0, 5)])
    assert np.isnan(result.LocScore).all()
    assert np.isfinite(result.mAP)


def test_empty_tables():
    table = random_table(0).take([])
    result = evaluate_stages(table, [StageSpec("a", 0.5, 1.0, 5)])
    assert result.order.shape == (0, table.size)
    assert np.isnan(result.mAP)


@given(st.integers(0, 1000), st.integers(0, 6), st.integers(0, 40), st.integers(1, 50))
@hypothesis_settings(max_examples=60)
def test_descending_is_stable(seed, queries, width, levels):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, levels, (queries, width)).astype(np.float64)
    keys[rng.random(keys.shape) < 0.1] = -np.inf
    assert np.array_equal(descending(keys), np.argsort(-keys, axis=1, kind="stable"))
