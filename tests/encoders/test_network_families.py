"""Whatever timm has: each of its families works, or says in one sentence what does not and why."""

from __future__ import annotations

import pytest
import timm

from patchrerank.encoders import cell_centres, load_dense_encoder, load_encoder, load_one_pass
from patchrerank.errors import EncoderError, PatchRerankError

LONGEST = 700
"""Characters of a sentence."""

LISTED = """
beit_base_patch16_224 halonet_h1 mobileone_s0 cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32
convnext_atto_rms cpubone_nano crossvit_tiny_240 csatv2 darknet17 cspnext_tiny davit_tiny
deit_tiny_patch16_224 densenet121 dla46_c dpn48b edgenext_xx_small efficientformer_l1
efficientformerv2_s0 tinynet_c efficientvim_m1 efficientvit_b0 efficientvit_m0
vit_tiny_patch16_dinov3_qkvb fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050
hardcorenas_b hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny hrnet_w18_small iformer_t
inception_next_atto inception_v3 lcnetv2_small levit_128s lowformer_b0 mambaout_femto
maxvit_pico_rw_256 caformer_s18 gmlp_ti16_224 mobilenetv3_small_050 mobilevit_xxs mvitv2_tiny
naflexvit_base_patch16_gap nest_tiny nextvit_small nf_regnet_b0 pit_ti_224 pvt_v2_b0 rdnet_tiny
regnetx_002 repghostnet_050 repvit_m1 res2next50 resnest14d resnet18 resnetv2_18 rexnet_100
selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224
tnt_s_legacy_patch16_224 tresnet_m twins_svt_small visformer_tiny vit_tiny_patch16_224
vit_tiny_r_s16_p8_224 vit_srelpos_small_patch16_224 vitamin_small_224 volo_d1_224
ese_vovnet19b_dw legacy_xception xception41p xcit_nano_12_p8_224
"""
"""One small member of each module of timm that has one."""
FAMILIES = LISTED.split()


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """Measuring where cells lie takes long and is no matter of sizes."""
    monkeypatch.setattr(cell_centres, "placement_of", lambda *_, **__: cell_centres.Placement())


def attempt(make, *arguments, **settings):
    """Return what was made, or the sentence that says why not."""
    try:
        return make(*arguments, **settings)
    except PatchRerankError as error:
        said = str(error)
    assert len(said) < LONGEST and "\n" not in said, said
    return said


def walk(name: str) -> None:
    if not timm.is_model(name):
        pytest.skip(f"this timm has no {name}")
    spec = f"timm:{name}"
    own = timm.get_pretrained_cfg(name).input_size[1:]
    how = {"pretrained": False, "device": "cpu"}
    encoder = attempt(load_encoder, spec, backend="eager", **how)
    assert not isinstance(encoder, str), encoder
    attempt(load_encoder, spec, backend="eager", image_size=own[0] + 96, **how)
    native = attempt(load_dense_encoder, spec, image_size=own[0], **how)
    other = attempt(load_dense_encoder, spec, image_size=own[0] + 96, **how)
    if isinstance(other, str):
        fits = not isinstance(native, str) and native.sizes == (own,)
        assert f"image_size={own[0]}" in other or not fits, other
    attempt(load_one_pass, encoder, str(own[0] + 96))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_works_or_says_why_not(name):
    walk(name)


@pytest.mark.parametrize(
    "name",
    [
        "test_efficientnet",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("levit_128s", "pit_ti_224")),
        pytest.param("gmlp_ti16_224", marks=pytest.mark.slow),
        pytest.param("crossvit_tiny_240", marks=pytest.mark.slow),
    ],
)
def test_some_families_work_or_say_why_not(name):
    walk(name)


def test_a_network_of_one_size_names_it():
    with pytest.raises(EncoderError, match=r"own size is 224 × 224.*--local-image-size 224"):
        load_dense_encoder("timm:gmlp_ti16_224", pretrained=False, device="cpu")


@pytest.mark.parametrize(
    ("name", "reason"), [("coat_tiny", "3 parts"), ("crossvit_tiny_240", "2 parts")]
)
def test_a_network_without_a_single_map_says_so(name, reason):
    with pytest.raises(EncoderError, match=f"{reason}, no single map; its vectors can be used"):
        load_dense_encoder(f"timm:{name}", pretrained=False, device="cpu", image_size=224)


def test_a_class_token_that_volo_does_not_mention_is_dropped():
    volo = load_dense_encoder("timm:volo_d1_224", pretrained=False, device="cpu", image_size=224)
    assert volo.grids == ((14, 14),)
