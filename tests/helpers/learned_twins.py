"""Networks with weights that show, stores of descriptors, and the plain way to score a pair."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from local_twins import FakeGallery, make_local, make_queries, make_shortlist, owned
from patchrerank.rerankers import AmesConfig, ElvisConfig
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.elvis_network import ElvisNetwork

DIM = 16
COUNTS = [39, 0, 12, 1, 39, 5, 20, 39, 2, 33]
SMALL_AMES = AmesConfig(DIM, 32, heads=2, layers=3, feedforward_dim=48)
SMALL_ELVIS = ElvisConfig(DIM, embed_dim=8, proj_dim=8)


@contextmanager
def torch_threads(count):
    """Let torch use so many threads; on a busy machine small operations on two wait for long."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def drawn(network, seed=0):
    """Draw weights so that every part of a network has a visible effect on its output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                weight.copy_(noise / weight.shape[-1] ** 0.5)
            elif weight.ndim == 1:
                weight.copy_(0.1 * noise + (weight == 1))
        if isinstance(network, ElvisNetwork):
            network.f[0].weight.mul_(5)
            network.dust_bin.fill_(0.4)
        else:
            network.mtc_token.mul_(5)
    return network.eval()


def ames(config=SMALL_AMES, seed=0):
    return drawn(AmesNetwork(config), seed)


def elvis(config=SMALL_ELVIS, seed=0):
    return drawn(ElvisNetwork(config), seed)


def setting(kind="float32", queries=(9, 1, 14), counts=COUNTS, seed=0, width=9):
    """A gallery, queries and shortlists; image 1 has no descriptors, some slots are empty."""
    rng = np.random.default_rng(seed)
    local = make_local(rng, counts, kind=kind, dim=DIM)
    local.manifest = SimpleNamespace(encoder={"spec": "drawn"})
    local.folder, local.identity = Path("drawn"), ""
    shortlist = make_shortlist(rng, len(queries), width, len(counts))
    return FakeGallery(local), make_queries(rng, queries, DIM), shortlist


def plain_scores(network, gallery, queries, shortlist, most=(None, None), slots=(0, 0)):
    """Score pair by pair with the network's own forward; zeros under masks fill up the slots."""
    scores = np.full(shortlist.rows.shape, -np.inf, np.float32)
    for (number, slot), image in np.ndenumerate(shortlist.rows):
        query = torch.from_numpy(queries.local[number].vectors[: most[0]])
        found = owned(gallery.local, image)[0][: most[1]].astype(np.float32)
        if len(query) and len(found):
            source, source_mask = _filled(query, slots[0])
            target, target_mask = _filled(torch.from_numpy(found), slots[1])
            with torch.inference_mode():
                score = network(source, target, source_mask, target_mask)
            scores[number, slot] = float(score[0])
    return scores


def _filled(vectors, slots):
    missing = max(0, slots - len(vectors))
    filled = torch.cat([vectors, vectors.new_zeros(missing, vectors.shape[1])])
    mask = torch.arange(len(filled)) >= len(vectors)
    return filled[None], mask[None]
