"""The page is taken apart with the standard library's parser; its numbers are computed again."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from PIL import Image

from patchrerank.datasets import Dataset, DatasetImage, DatasetQuery
from patchrerank.errors import DatasetError, SettingError, TableError
from patchrerank.fusion import Fusion
from patchrerank.metrics.convention import ilias_at
from patchrerank.pipeline import StageSpec
from patchrerank.report import tuning_history
from patchrerank.report.tuning_charts import (
    cost_chart,
    importance_chart,
    plane,
    size_curve,
    trial_records,
)
from patchrerank.report.tuning_gains import QueryGains
from patchrerank.report.tuning_page import TuningSummary, write_tuning_page
from patchrerank.report.tuning_view import StageView, view_of
from patchrerank.tuning import evaluate_stages
from patchrerank.tuning.statistics import Gain
from patchrerank.tuning.tables.grids import evaluate_grid
from patchrerank.tuning.trials.grid_space import GAMMAS, LAMS
from patchrerank.tuning.trials.trial import Trial
from synthetic import random_table

ODD = "</script><script>alert('x')</script>\"'&amp; 查询 $title ${x} <!-- \u2028"


STAGES = {
    1: (StageSpec("a", 0.3, 0.5, 9),),
    2: (StageSpec("a", 0.3, 0.5, 9), StageSpec("b", 0.6, 2.0, 5)),
    3: (
        StageSpec("a", 0.3, 0.5, 9),
        StageSpec("b", 0.6, 2.0, 7),
        StageSpec("a", 0.1, 1.0, 4),
    ),
}


@pytest.fixture(autouse=True)
def _few_random_settings(monkeypatch):
    monkeypatch.setattr(tuning_history, "FEWEST", 20)


class Page(HTMLParser):
    """Elements, texts, and the JSON of a page whose tags all close."""

    def __init__(self, source):
        super().__init__()
        self.source, self.elements, self.texts, self.open = source, [], [], []
        self.feed(source)
        self.close()
        assert self.open == []
        embedded = re.findall(r'<script type="application/json" id="run">(.*?)</script>', source)
        self.data = json.loads(embedded[0], parse_constant=pytest.fail)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "rect", "br", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def some_trials(stages, count=12, seed=0, table=None):
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        size, chosen = 12, []
        for name in [stage.reranker for stage in stages]:
            size = int(rng.integers(1, size + 1))
            chosen.append(StageSpec(name, rng.random(), 10 ** rng.uniform(-2, 1), size))
        value = None if number == 3 else rng.random()
        if table is not None and value is not None:
            value = float(np.nanmean(evaluate_stages(table, chosen).AP))
        trials.append(Trial(number, tuple(chosen), value))
    return trials


def summary(table, stages, **changes):
    found = TuningSummary(
        stages=stages,
        metric="mAP",
        value=float(np.nanmean(evaluate_stages(table, stages).AP)),
        first_stage_value=float(np.nanmean(evaluate_stages(table, []).AP)),
    )
    return replace(found, **changes)


def written(tmp_path, table, stages, trials=None, dataset=None, study=None, **changes):
    trials = some_trials(stages) if trials is None else trials
    path = tmp_path / "made" / "tuning.html"
    result = summary(table, stages, **changes)
    assert write_tuning_page(table, trials, result, path, dataset, study) == path
    return Page(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("count", STAGES)
def test_the_plane_holds_what_the_cascade_gives(tmp_path, count):
    table, stages = random_table(3), STAGES[count]
    data = written(tmp_path, table, stages).data
    chart = data["plane"]
    assert np.shape(chart["values"]) == (61, 101)
    assert data["reranker"] == stages[-1].reranker
    assert chart["size"] == stages[-1].shortlist_size
    for g, lam in ((0, 0), (60, 100), (30, 17), (5, 99), (44, 50)):
        fusion = Fusion(chart["lams"][lam], chart["gammas"][g], chart["size"])
        found = evaluate_stages(table, [*stages[:-1], StageSpec.of(stages[-1].reranker, fusion)])
        assert chart["values"][g][lam] == pytest.approx(np.nanmean(found.AP), abs=1e-5)


def test_the_plane_of_one_stage_is_the_grid(tmp_path):
    table = random_table(4, names=("a",), coarse=True)
    chart = written(tmp_path, table, STAGES[1]).data["plane"]
    grid = evaluate_grid(table, chart["lams"][::20], chart["gammas"][::15], [chart["size"]])
    embedded = np.array(chart["values"])[::15, ::20]
    np.testing.assert_allclose(embedded, np.nanmean(grid[0], axis=-1), atol=2e-6)
    gammas = [stage.gamma for trial in some_trials(STAGES[1]) for stage in trial.stages]
    assert chart["gammas"][0] == pytest.approx(min(gammas), rel=1e-5)
    assert chart["gammas"][-1] == pytest.approx(max(1.0, *gammas), rel=1e-5)


def test_locscore_and_tied_conventions_fall_back_on_sorting(tmp_path):
    table, stages = random_table(5), STAGES[2]
    first = float(np.nanmean(evaluate_stages(table, []).LocScore))
    data = written(tmp_path, table, stages, metric="LocScore", first_stage_value=first).data
    assert (data["drawn"], np.shape(data["plane"]["values"])) == ("LocScore", (13, 21))
    fusion = Fusion(data["plane"]["lams"][7], data["plane"]["gammas"][4], 5)
    found = evaluate_stages(table, [stages[0], StageSpec.of("b", fusion)])
    embedded = data["plane"]["values"][4][7]
    assert embedded == pytest.approx(np.nanmean(found.LocScore), abs=1e-5)
    tied = random_table(5, coarse=True, convention=ilias_at(10))
    chart = written(tmp_path, tied, stages).data["plane"]
    fusion = Fusion(chart["lams"][7], chart["gammas"][4], 5)
    found = evaluate_stages(tied, [stages[0], StageSpec.of("b", fusion)])
    assert chart["values"][4][7] == pytest.approx(np.nanmean(found.AP), abs=1e-5)


def test_size_curve_runs_up_to_the_cut_of_the_stage_before(tmp_path):
    table = random_table(6)
    chart = written(tmp_path, table, STAGES[2]).data["sizes"]
    assert chart["sizes"] == list(range(1, 10))
    for size, value in zip(chart["sizes"], chart["values"], strict=True):
        found = evaluate_stages(table, [STAGES[2][0], StageSpec("b", 0.6, 2.0, size)])
        assert value == pytest.approx(np.nanmean(found.AP), abs=1e-5)
    without = np.nanmean(evaluate_stages(table, STAGES[1]).AP)
    assert chart["without"] == pytest.approx(without, abs=1e-5)
    assert chart["size"] == 5


@pytest.mark.parametrize(
    ("least", "limit", "published"),
    [
        (1, 1000, [100, 200, 400, 800, 1000]),
        (100, 400, [100, 200, 400]),
        (101, 399, [200]),
    ],
)
def test_a_size_curve_marks_the_published_sizes_from_its_least_to_its_limit(
    least, limit, published
):
    view = SimpleNamespace(
        least=least,
        limit=limit,
        fine=True,
        table=SimpleNamespace(size=1000),
        reranker="a",
        without=0.5,
        means=lambda lams, gammas, sizes: np.array(sizes).reshape(-1, 1, 1) / 1000,
    )
    chart = size_curve(view, Fusion(0.3, 0.5, 250))
    assert chart["published"] == published
    for tuned in published:  # at such a size it is still marked once
        assert size_curve(view, Fusion(0.3, 0.5, tuned))["published"] == published
    assert chart["sizes"] == sorted(set(chart["sizes"])), "each once, in order"
    assert (chart["sizes"][0], chart["sizes"][-1]) == (least, limit)
    assert {*published} <= {*chart["sizes"]}
    assert (250 in chart["sizes"]) or not least <= 250 <= limit
    assert chart["values"] == [size / 1000 for size in chart["sizes"]]


def test_trials_keep_their_order_cost_and_failures(tmp_path):
    table, stages = random_table(7), STAGES[2]
    trials = some_trials(stages)
    data = written(tmp_path, table, stages, trials[::-1]).data
    assert [record["number"] for record in data["trials"]] == list(range(12))
    assert data["trials"][3]["value"] is None
    for record, trial in zip(data["trials"], trials, strict=True):
        expected = evaluate_stages(table, trial.stages).milliseconds
        assert record["ms"] == pytest.approx(expected, rel=1e-5)
        assert record["lam"] == trial.stages[1].lam
    assert "12 trials, 1 of them without a value." in (tmp_path / "made/tuning.html").read_text()


def test_pareto_front():
    table = random_table(7)
    trials = [
        Trial(n, (StageSpec("a", 0.5, 1.0, size),), value)
        for n, (size, value) in enumerate(
            [(4, 0.4), (2, 0.3), (2, 0.5), (9, 0.5), (8, 0.9), (1, 0.1)]
        )
    ]
    records = trial_records(trials, view_of(table, STAGES[1], "AP")[0])
    chart = cost_chart(records, 0.2, 1.0)
    assert [point["number"] for point in chart["front"]] == [2, 4]
    for point in chart["front"]:
        rivals = [r for r in records if r["ms"] <= point["ms"] and r["value"] >= point["value"]]
        assert [r["number"] for r in rivals] == [point["number"]]
    unknown = trial_records(trials, view_of(replace(table, costs={}), STAGES[1], "AP")[0])
    assert unknown[0]["ms"] is None
    assert "no costs" in cost_chart(unknown, 0.2, math.nan)["note"]


def test_history_against_random_search_and_grid(tmp_path):
    table, stages = random_table(8, queries=9, names=("a",)), STAGES[1]
    chart = written(tmp_path, table, stages).data["history"]
    low, median, high = (np.array(chart["random"][key]) for key in ("low", "median", "high"))
    assert low.shape == (12,)
    assert (np.diff(median) >= 0).all()
    assert ((low <= median) & (median <= high)).all()
    grid = evaluate_grid(table, LAMS, GAMMAS, [0, 100, 200, 400, 800, 1000])
    assert len(chart["grid"]) == 792
    assert chart["grid"][-1] == pytest.approx(np.nanmean(grid, axis=-1).max(), abs=1e-5)
    assert chart["grid"][0] == pytest.approx(summary(table, stages).first_stage_value, abs=1e-5)
    cascade = written(tmp_path, random_table(8), STAGES[2]).data["history"]
    assert "grid" not in cascade
    assert "cascade" in cascade["grid_note"]


def test_gains_are_sorted_and_leave_out_queries_without_positives(tmp_path):
    table = random_table(9, queries=12)
    lost = table.n_positives.copy()
    none = int(np.flatnonzero(lost)[0])
    lost[none] = 0
    flags = table.relevant.copy()
    flags[none] = False
    areas = table.positive_areas.copy()
    areas[none] = np.nan
    table = replace(table, n_positives=lost, relevant=flags, positive_areas=areas)
    chart = written(tmp_path, table, STAGES[1]).data["gains"]
    gains = np.array(chart["after"]) - chart["before"]
    assert f"q{none}" not in chart["ids"]
    assert (np.diff(gains) <= 1e-5).all()
    number = table.query_ids.index(chart["ids"][0])
    expected = evaluate_stages(table, STAGES[1]).AP[number]
    assert chart["after"][0] == pytest.approx(expected, abs=1e-5)


def test_importance_needs_a_study_with_trials():
    assert "No Optuna study" in importance_chart(None)["note"]
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def value(trial):
        return -((trial.suggest_float("lam", 0, 1) - 0.4) ** 2) + 0 * trial.suggest_float("g", 0, 1)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(value, n_trials=9)
    assert "9 finished trials" in importance_chart(study)["note"]
    study.optimize(value, n_trials=60)
    chart = importance_chart(study)
    assert chart["names"][0] == "lam"
    assert sum(chart["shares"]) == pytest.approx(1, abs=1e-4)
    several = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0)
    )
    several.optimize(lambda trial: (value(trial), 1.0), n_trials=60)
    assert importance_chart(several)["names"][0] == "lam"


def test_the_page_loads_nothing_and_its_policy_holds(tmp_path):
    page = written(tmp_path, random_table(1), STAGES[2])
    assert set(re.findall(r"https?://[^\"' )]*", page.source)) == {"http://www.w3.org/2000/svg"}
    assert not {tag for tag, _ in page.elements} & {"img", "iframe", "object", "base", "form"}
    assert all(attrs.get("src") is None for _, attrs in page.elements)
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert policy.count("sha256-") == 4
    assert "$" not in page.source.replace(page.source[: page.source.index("<body>")], "")


def test_hostile_text_is_only_text(tmp_path):
    odd = ODD + "\ud800"
    table = random_table(2, names=(odd,))
    table = replace(
        table,
        query_ids=tuple(f"{odd}{n}" for n in range(len(table))),
        about={odd: odd},
    )
    stages = (StageSpec(odd, 0.3, 0.5, 9),)
    page = written(tmp_path, table, stages, warnings=[odd], about={odd + "2": odd})
    assert page.source.count("<script") == 2
    assert "alert('x')</script>" not in page.source
    assert page.data["gains"]["ids"][0].startswith(odd)
    assert page.data["reranker"] == odd
    shown = " ".join(ODD.split())
    assert page.text.count(shown) >= 4
    named = written(tmp_path, random_table(2), STAGES[1], metric=odd)
    assert named.source.count("<script") == 2
    assert (named.data["drawn"], named.data["percent"]) == ("mAP", False)


def test_the_header_says_what_was_found_and_how_sure_it_is(tmp_path):
    table = random_table(2)
    gain = Gain(0.0123, -0.004, 0.03, 0.21, 3, 2, 1)
    page = written(
        tmp_path,
        table,
        STAGES[2],
        value=0.5,
        first_stage_value=0.25,
        grid_value=0.45,
        held_out=gain,
        warnings=["On the border."],
        about={"seed": "7", "dataset": "mine"},
    )
    for part in (
        "Tuning of a → b for mAP",
        "50.00 % +25.00 points over the first stage",
        "45.00 % +20.00 points",
        "+1.23 points 95 % interval −0.40 … +3.00, p = 0.21 (not significant); "
        "3 queries better, 2 worse, 1 the same",
        "Before you trust this On the border.",
        "0.6 2 5",
        "seed 7",
        "dataset mine",
        "average precision full",
    ):
        assert part in page.text
    assert "not measured" in written(tmp_path, table, STAGES[1]).text
    assert "Before you trust" not in written(tmp_path, table, STAGES[1]).text


def small_dataset(tmp_path, table):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def picture(name):
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(folder / name)
        return folder / name

    box = np.float32([[0.25, 0.25, 0.75, 0.5]])
    queries = tuple(
        DatasetQuery(name, picture(f"{name}.png"), 0, box[0]) for name in table.query_ids
    )
    images = tuple(DatasetImage(name, picture(f"{name}.png"), 0, box) for name in table.gallery_ids)
    return Dataset(folder, queries, images)


def test_pictures_of_the_biggest_wins_and_losses(tmp_path):
    table = random_table(9, queries=14)
    data = small_dataset(tmp_path, table)
    page = written(tmp_path, table, STAGES[1], dataset=data)
    gains = QueryGains.of(table, STAGES[1])
    change = gains.after - gains.before
    shown = [a["data-id"] for tag, a in page.elements if tag == "section" and "data-id" in a]
    wins, losses = gains.wins(), gains.losses()
    assert [table.query_ids[n] for n in [*wins, *losses]] == shown
    assert len(wins) == min(5, int((change >= 0.0005).sum())) > 0
    assert len(losses) == min(5, int((change <= -0.0005).sum())) > 0
    assert change[wins[0]] == np.nanmax(change)
    assert change[losses[0]] == np.nanmin(change)
    hits = [a for tag, a in page.elements if tag == "li" and "data-hit" in a]
    first, order = table.rows[wins[0]], gains.order[wins[0]]
    filled = [row for row in first if row >= 0][:10]
    assert [hit["data-hit"] for hit in hits[: len(filled)]] == [f"g{row}" for row in filled]
    tuned = hits[len(filled)]
    assert tuned["data-hit"] == f"g{first[order[0]]}"
    right = bool(table.relevant[wins[0], order[0]])
    junk = bool(table.junk[wins[0], order[0]])
    assert ("right" in tuned["class"], "unknown" in tuned["class"]) == (right, junk)
    assert page.source.count("data:image/jpeg;base64,") > 10


def test_a_data_set_of_something_else_is_refused(tmp_path):
    table = random_table(9, queries=14)
    data = small_dataset(tmp_path, table)
    with pytest.raises(DatasetError, match="holds no query"):
        written(tmp_path, table, STAGES[1], dataset=replace(data, queries=()))
    with pytest.raises(DatasetError, match="holds no picture"):
        written(tmp_path, table, STAGES[1], dataset=replace(data, images=()))
    assert not (tmp_path / "made").exists()


def test_stages_that_do_nothing_and_runs_without_trials(tmp_path):
    table = random_table(2)
    off = (STAGES[2][0], StageSpec("b", 0.5, 1.0, 0))
    data = written(tmp_path, table, off, []).data
    assert (data["reranker"], data["before"], data["trials"]) == ("a", "", [])
    nothing = written(tmp_path, table, (StageSpec("b", 0.5, 1.0, 0),), []).data
    assert (nothing["reranker"], nothing["plane"]["size"]) == ("b", 12)
    whole = written(tmp_path, table, (StageSpec("b", 0.0, 0.0, None),)).data
    assert (whole["plane"]["size"], whole["plane"]["tuned"]["gamma"]) == (12, 0.0)
    strange = replace(summary(table, STAGES[1]), stages=(StageSpec.of("c", Fusion()),))
    with pytest.raises(SettingError, match="not in this table"):
        write_tuning_page(table, [], strange, tmp_path / "page.html")


def test_scores_that_were_not_computed(tmp_path):
    table = random_table(2, holes=False)
    partly = table.local_scores["a"].copy()
    partly[:, 6:] = np.nan
    table = replace(table, local_scores={**table.local_scores, "a": partly})
    stages = (StageSpec("a", 0.3, 0.5, 5),)
    data = written(tmp_path, table, stages, some_trials(stages)).data
    assert (data["sizes"]["sizes"][-1], data["plane"]["size"]) == (6, 5)
    assert "no local score" in data["history"]["grid_note"]
    more = replace(summary(table, stages), stages=STAGES[1])
    with pytest.raises(TableError, match="no local score"):
        write_tuning_page(table, [], more, tmp_path / "page.html")


def test_settings_are_checked(tmp_path):
    with pytest.raises(SettingError, match="at least 0"):
        Trial(-1, STAGES[1], 0.5)
    with pytest.raises(SettingError, match="trial 3: value must be finite, got nan"):
        Trial(3, STAGES[1], math.nan)
    with pytest.raises(SettingError, match="at least one stage"):
        TuningSummary((), "mAP", 0.5, 0.5)
    with pytest.raises(SettingError, match=r"value: mAP must lie in \[0, 1\], got 54\.3"):
        TuningSummary(STAGES[1], "mAP", 54.3, 0.5)
    table = random_table(2)
    with pytest.raises(SettingError, match="trial 0: mAP must lie in"):
        written(tmp_path, table, STAGES[1], [Trial(0, STAGES[1], 54.3)])
    other = written(tmp_path, table, STAGES[1], [Trial(0, (), 54.3)], metric="gain", value=54.3)
    assert other.data["trials"][0]["value"] == 54.3


def test_the_same_run_gives_the_same_bytes(tmp_path):
    table = random_table(2)
    pages = [written(tmp_path / name, table, STAGES[2]).source for name in ("x", "y")]
    assert pages[0] == pages[1]


def test_scores_of_a_list_hold_from_its_depth_on(tmp_path):
    table = replace(random_table(2), list_depths={"a": 4})
    data = written(tmp_path, table, STAGES[1]).data
    assert data["sizes"]["sizes"] == list(range(4, 13))
    assert len(data["history"]["random"]["median"]) == 12


def test_plane_without_scores():
    table = random_table(2, holes=False)
    empty = np.full(table.rows.shape, np.nan, np.float32)
    table = replace(table, local_scores={"a": empty, "b": table.local_scores["b"]})
    view = StageView(table, (), "a", "AP")
    assert "no scores" in plane(view, Fusion(), [])["note"]
