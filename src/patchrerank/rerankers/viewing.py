"""Query views as an option of everything that reranks."""

from __future__ import annotations

from copy import copy
from typing import Self

from patchrerank.errors import check_kind
from patchrerank.gallery import Gallery
from patchrerank.types import AutoViews, QueryViews


class HasQueryViews:
    """What a ranker has of query views.

    Attributes:
        gallery: keeps the backgrounds.
        query_views: how a query's object is composed on them; None: it is not.
    """

    gallery: Gallery
    query_views: QueryViews | None = None

    def with_query_views(self, views: QueryViews | None) -> Self:
        """Return one that does the same, with other query views; None: without.

        :class:`patchrerank.types.AutoViews` are none where the gallery keeps no backgrounds.

        Raises:
            SettingError: something that is none.
            GalleryError: the gallery keeps no backgrounds; says what to do.
        """
        check_kind("query_views", views, QueryViews, "QueryViews(backgrounds=8), or None")
        if isinstance(views, AutoViews) and not self.gallery.has_backgrounds:
            views = None
        if views is not None:
            _ = self.gallery.backgrounds
        made = copy(self)
        made.query_views = views
        return made
