"""Dense correlation: the query's part of a picture against every cell of the candidate."""

from __future__ import annotations

import numpy as np

from patchrerank.rerankers._correlation import located, mean_descriptor
from patchrerank.rerankers._local import LocalReranker, local_of
from patchrerank.rerankers.chamfer import matched, mean_of_best
from patchrerank.types import LocalScores, Queries, Shortlist


class DenseCorrelation(LocalReranker):
    """The descriptors in the query's instance box against *all* cells of the candidate.

    The score is the mean over the query's descriptors of their best correlation with a cell,
    in [-1, 1]; −inf where query or candidate has no descriptors. The box is the connected
    region around the peak of the correlation map (mean over the query's descriptors, smoothed
    by 1-2-1), cut at half the peak's height above the map's median.

    Source: the dense baseline of ILIAS (CVPR 2025), which gives the query's instance box. The
    descriptors are used as they come: whoever encodes a query cuts them to its box or mask
    (``dense_encoder`` here does, ``encode_local_queries`` does). Without a box or mask all of
    the picture is searched for, background included, and the scores are much worse.

    Args:
        gallery, encoder, fusion, query_crop, dense_encoder, threads: see
            :class:`~patchrerank.rerankers._local.LocalReranker`.
    """

    name = "dense_correlation"

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return correlation and box of each candidate; see the base class.

        Raises:
            QueryError: the queries have no local descriptors, or of another space.
            GalleryError: the gallery has none.
        """
        local = self.gallery.local
        scores = np.full(shortlist.rows.shape, -np.inf, dtype=np.float32)
        boxes = np.full((*shortlist.rows.shape, 4), np.nan, dtype=np.float32)
        for number, query in enumerate(local_of(queries, shortlist, local, self.name)):
            if len(query):
                images = shortlist.rows[number]
                for block, matches in matched(query.vectors, local, images, self.threads):
                    scores[number, block.slots] = mean_of_best(matches.scores, None)
                boxes[number] = located(mean_descriptor(query.vectors), local, images)
        return LocalScores(scores, boxes)
