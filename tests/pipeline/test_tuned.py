from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank import load_reranker
from patchrerank.calibration import Calibration
from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.gallery import (
    BuildOptions,
    CompressOptions,
    Gallery,
    build_gallery,
    compress,
)
from patchrerank.pipeline import (
    Estimate,
    StageSpec,
    Tuned,
    TunedLocal,
    TunedOn,
    Versions,
)
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import Patchify

TUNED = Tuned(
    stages=(StageSpec("patchify+refine", 0.25, 2.0, 20), StageSpec("superglobal", 0.5, 1.0, 5)),
    tuned_on=TunedOn("f" * 64, "tiny", "0" * 64, "grid:2", "float32", "box", 30),
    metric="mAP",
    convention="full",
    value=0.75,
    held_out=Estimate(0.7, 0.6, 0.8),
    folds=5,
    seed=0,
    sampler="tpe",
    versions=Versions("0.1.0", "5.0.0", "2.4.6", "3.11.7"),
    warnings=("λ stands on the border of its range",),
    calibration=Calibration(1.0, 2.0, -3.0, base_rate=0.01, nothing_below=0.3),
)

shares = st.floats(0, 1)
stages = st.builds(
    StageSpec,
    st.sampled_from(["patchify", "chamfer+refine", "query-expansion"]),
    shares,
    st.floats(0, 1e9),
    st.none() | st.integers(0, 10**9),
)
local = st.builds(
    TunedLocal,
    st.text(max_size=5),
    st.none() | st.just((448, 448)),
    st.just((224, 448)),
    st.sampled_from(["box", "all"]),
)
anything = st.builds(
    Tuned,
    stages=st.lists(stages, min_size=1, max_size=3).map(tuple),
    tuned_on=st.builds(
        TunedOn,
        *[st.text(max_size=5)] * 5,
        st.sampled_from(["none", "box"]),
        st.integers(1, 10**6),
        st.none() | local,
    ),
    metric=st.text(max_size=5),
    convention=st.sampled_from(["full", "@100", "revisited"]),
    value=shares,
    held_out=st.none() | st.builds(lambda a, b: Estimate(a, min(a, b), max(a, b)), shares, shares),
    folds=st.integers(0, 10),
    seed=st.integers(-(2**63), 2**63),
    sampler=st.text(max_size=5),
    versions=st.builds(Versions, *[st.text(max_size=5)] * 4),
    warnings=st.lists(st.text(max_size=20), max_size=3).map(tuple),
    calibration=st.none() | st.builds(Calibration, shares, shares, st.floats(-9, 9)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tuned")


@given(tuned=anything)
def test_a_file_reads_back_as_it_was(folder, tuned):
    tuned.save(folder / "tuned.json")
    assert Tuned.load(folder / "tuned.json") == tuned
    assert [path.name for path in folder.iterdir()] == ["tuned.json"], "nothing is left beside it"


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "marked.json"
    TUNED.save(path)
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert Tuned.load(path) == TUNED


def test_the_file_is_plain(tmp_path):
    TUNED.save(tmp_path / "tuned.json")
    content = json.loads((tmp_path / "tuned.json").read_text(encoding="utf-8"))
    assert content["schema"] == 1
    assert content["stages"][0] == {
        "reranker": "patchify+refine", "lam": 0.25, "gamma": 2.0, "shortlist_size": 20
    }  # fmt: skip
    assert content["held_out"] == {"value": 0.7, "low": 0.6, "high": 0.8, "confidence": 0.95}
    assert "λ stands" in (tmp_path / "tuned.json").read_text(encoding="utf-8")
    assert str(TUNED) == "patchify+refine:20:0.25:2.0,superglobal:5:0.5:1.0"
    assert TUNED.stages[1].fusion == Fusion(0.5, 1.0, 5)
    assert StageSpec.of("superglobal", TUNED.stages[1].fusion) == TUNED.stages[1]


def test_saving_is_all_or_nothing(tmp_path):
    path = tmp_path / "tuned.json"
    TUNED.save(path)
    before = path.read_bytes()
    broken = replace(TUNED, calibration=Calibration(1.0, 1.0, float("inf")))
    with pytest.raises(SettingError, match=r"tuned\.json: cannot be written"):
        broken.save(path)
    assert path.read_bytes() == before
    with pytest.raises(SettingError, match="cannot be written"):
        TUNED.save(tmp_path / "none" / "tuned.json")


def changed(path, value):
    """Return the file's content with a value replaced, or a key removed (``...``)."""
    content = json.loads(json.dumps(asdict(TUNED)))
    *way, last = path
    inner = content
    for key in way:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "schema: this version reads 1, not 2"),
        (["schema"], "1", "schema: this version reads 1, not '1'"),
        (["schema"], ..., "schema: missing"),
        (["metric"], ..., "metric: missing"),
        (["metric"], 3, "metric: expected text, got 3"),
        (["stages"], [], "stages: a cascade needs at least one stage"),
        (["stages"], {}, "stages: expected a list, got {}"),
        (["stages", 0, "lam"], 1.5, r"stages\[0\]: lam must lie in \[0, 1\], got 1.5"),
        (["stages", 1, "gamma"], -1, r"stages\[1\]: gamma must be finite and at least 0"),
        (["stages", 1, "lam"], "x", r'stages\[1\].lam: expected a finite number, got "x"'),
        (["stages", 0, "shortlist_size"], 2.5, "shortlist_size: expected a whole number, got 2.5"),
        (["stages", 0, "shortlist_size"], ..., r"stages\[0\].shortlist_size: missing"),
        (["stages", 0, "lamm"], 1, r"stages\[0\].lamm: unknown key; did you mean lam"),
        (["stages", 0, "reranker"], "patchfy", "did you mean patchify"),
        (["tuned_on", "query_crop"], "bix", 'query_crop: "bix" is unknown; did you mean box'),
        (["tuned_on", "query_crop"], [], r"query_crop: \[\] is unknown"),
        (["tuned_on", "candidates"], 0, "tuned_on: candidates must be at least 1"),
        (["tuned_on", "local"], {"query_part": 1}, "tuned_on.local.fingerprint: missing"),
        (["convention"], "fulll", "AP convention 'fulll' is unknown"),
        (["value"], 75, r"value must lie in \[0, 1\], got 75"),
        (["value"], True, "value: expected a finite number, got true"),
        (["value"], 10**400, "value: expected a finite number"),
        (["held_out", "low"], 0.9, "held_out: low must not exceed high"),
        (["folds"], -1, "folds must be at least 0"),
        (["warnings"], ["a", 1], r"warnings\[1\]: expected text, got 1"),
        (["calibration", "a"], -1, "calibration: a must be at least 0"),
        (["claibration"], None, "claibration: unknown key; did you mean calibration"),
        (["versions", "numpy"], None, "versions.numpy: expected text, got null"),
    ],
)
def test_damage_is_named_with_file_and_key(tmp_path, path, value, message):
    file = tmp_path / "t.json"
    file.write_text(json.dumps(changed(path, value)), encoding="utf-8")
    with pytest.raises(SettingError, match=message) as caught:
        Tuned.load(file)
    assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", r"expected an object, got \[1\]"),
        ("\udcff", "not valid JSON"),
    ],
)
def test_files_that_are_something_else(tmp_path, text, message):
    file = tmp_path / "t.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingError, match=message):
        Tuned.load(file)
    with pytest.raises(SettingError, match=r"none\.json: cannot be read"):
        Tuned.load(tmp_path / "none.json")


def test_versions_of_this_process():
    found = Versions.current()
    assert found.numpy == np.__version__
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.patchrerank


@pytest.fixture
def tuned_here(tiny_gallery, tmp_path):
    on = TunedOn.of(tiny_gallery, "f" * 64, 30)
    tuned = replace(TUNED, stages=TUNED.stages[:1], tuned_on=on)
    tuned.save(tmp_path / "tuned.json")
    return tmp_path / "tuned.json"


def test_a_loaded_cascade_ranks(tuned_here, tiny_gallery, tiny_encoder, photo_folder, caplog):
    cascade = Tuned.load(tuned_here).cascade(tiny_gallery, tiny_encoder)
    assert [stage.fusion for stage in cascade.stages] == [Fusion(0.25, 2.0, 20)]
    assert cascade.query_crop == "none"
    ids = list(tiny_gallery.ids)
    hits = cascade.rank(photo_folder / ids[4], ids)
    assert hits[0].id == ids[4]
    assert [hit.probability is not None for hit in hits] == [True] * 20 + [False] * 20
    alone = Patchify(tiny_gallery, tiny_encoder, Fusion(0.25, 2.0, 20))
    assert [hit.id for hit in alone.rank(photo_folder / ids[4], ids)] == [hit.id for hit in hits]
    assert [record.name.split(".")[-1] for record in caplog.records] == ["box_refinement"]


def test_another_encoder_is_refused(
    tuned_here, tmp_path, photo_folder, other_encoder, tiny_gallery, caplog
):
    quiet = BuildOptions(progress=False)
    gallery = build_gallery(tmp_path / "g", photo_folder, other_encoder, GridPyramid(1), quiet)
    with pytest.raises(SettingError, match="tune again on this gallery") as caught:
        Tuned.load(tuned_here).cascade(gallery)
    assert tiny_gallery.manifest.identity[:12] in str(caught.value)
    assert gallery.manifest.identity[:12] in str(caught.value)
    with pytest.raises(SettingError, match=r"stages alone, 'patchify\+refine:20:0\.25:2\.0'"):
        load_reranker(gallery, tuned_here)
    assert load_reranker(gallery, str(Tuned.load(tuned_here))).stages[0].fusion.lam == 0.25
    with caplog.at_level(logging.WARNING):
        assert Tuned.load(tuned_here).cascade(gallery, strict=False).gallery is gallery
    assert "another scale" in caplog.text
    assert "tuned with regions grid:2, the gallery has grid:1" in caplog.text


@pytest.fixture(scope="module")
def whitened(tmp_path_factory, tiny_gallery, photo_folder, tiny_encoder):
    """Galleries by name: whitened to 8 on all pictures, to 8 on others than those, to 6."""
    root = tmp_path_factory.mktemp("whitened")
    few = sorted(photo_folder.glob("*.png"))[:20]
    quiet = BuildOptions(progress=False)
    sources = {
        "all": (tiny_gallery, 8),
        "few": (build_gallery(root / "f", few, tiny_encoder, GridPyramid(2), quiet), 8),
        "six": (tiny_gallery, 6),
    }
    for name, (source, dim) in sources.items():
        compress(source, root / name, CompressOptions("int8", whiten=dim, progress=False))
    return {name: Gallery(root / name) for name in sources}


def test_a_whitening_is_learned_on_each_gallery_and_its_dimensions_must_agree(
    whitened, tiny_gallery, tmp_path, caplog
):
    one, other = whitened["few"], whitened["all"]
    assert one.manifest.identity != other.manifest.identity, "two matrices of one encoder"
    on = TunedOn.of(one, "f", 20)
    assert (on.whiten, on.store, on.identity) == (8, "int8", tiny_gallery.manifest.identity)
    assert list(on.other_scale(other, None)) == []
    replace(TUNED, tuned_on=on).save(tmp_path / "tuned.json")
    assert load_reranker(other, tmp_path / "tuned.json").gallery is other
    assert "tuned with" not in caplog.text and "scale" not in caplog.text
    with pytest.raises(SettingError, match="not whitened; make a gallery that fits") as caught:
        load_reranker(tiny_gallery, tmp_path / "tuned.json")
    folder = tiny_gallery.folder
    assert f"`patchrerank compress {folder} FOLDER --whiten 8 --store int8`" in str(caught.value)
    assert "`patchrerank tune … --store float32`" in str(caught.value)
    with pytest.raises(SettingError, match="is whitened to 6 dimensions; make") as caught:
        load_reranker(whitened["six"], tmp_path / "tuned.json")
    mended = "`patchrerank compress PLAIN_GALLERY FOLDER --whiten 8 --store int8`"
    assert mended in str(caught.value), "no name loads this encoder again"
    assert "`patchrerank tune … --whiten 6 --store int8`" in str(caught.value)


def test_tuned_without_whitening_does_not_fit_a_whitened_gallery(tuned_here, whitened):
    with pytest.raises(SettingError, match=r"tuned on a gallery not whitened, but .*all is whit"):
        load_reranker(whitened["all"], tuned_here)


def test_a_file_from_before_whitening_was_told_is_of_none(tuned_here):
    content = json.loads(tuned_here.read_text())
    del content["tuned_on"]["whiten"]
    before = Tuned.load(tuned_here)
    tuned_here.write_text(json.dumps(content))
    assert Tuned.load(tuned_here) == before


def test_other_regions_only_warn(tuned_here, tmp_path, photo_folder, tiny_encoder, caplog):
    quiet = BuildOptions(progress=False)
    gallery = build_gallery(tmp_path / "g", photo_folder, tiny_encoder, GridPyramid(1), quiet)
    with caplog.at_level(logging.WARNING):
        Tuned.load(tuned_here).cascade(gallery)
    assert "scores may be shifted" in caplog.text


def made_of(gallery, fingerprint="l" * 64):
    """The gallery with local descriptors, as far as a check of it looks."""
    store = SimpleNamespace(fingerprint=fingerprint, encoder={"sizes": [[448, 448]]})
    local = SimpleNamespace(manifest=store)
    return SimpleNamespace(
        manifest=gallery.manifest, folder=gallery.folder, has_local=True, local=local
    )


def dense(size=(224, 224), part="box"):
    return SimpleNamespace(image_size=size, selection=SimpleNamespace(query_part=part))


def test_local_descriptors_are_part_of_the_scale(tiny_gallery):
    on = TunedOn.of(made_of(tiny_gallery), "f", 30, "none", dense())
    assert on.local == TunedLocal("l" * 64, (448, 448), (224, 224), "box")
    assert list(on.other_scale(made_of(tiny_gallery), dense())) == []
    assert list(on.other_scale(made_of(tiny_gallery), None)) == []
    (found,) = on.other_scale(made_of(tiny_gallery, "m" * 64), None)
    assert "those of the gallery" in found
    for other in (dense((448, 448)), dense(part="all")):
        (found,) = on.other_scale(made_of(tiny_gallery), other)
        assert "but the dense encoder makes them" in found


def test_a_stage_of_no_reranker_is_named_by_its_place():
    strange = StageSpec("patchfy", 0.0, 1.0, None)
    with pytest.raises(SettingError, match=r"stages\[1\]: .*did you mean patchify"):
        replace(TUNED, stages=(TUNED.stages[0], strange))
