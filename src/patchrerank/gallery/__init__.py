"""The database side on disk: build, append, resume, open, verify."""

from patchrerank.gallery.builder import BuildOptions, build_gallery
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.queries import encode_queries
from patchrerank.gallery.verify import verify

__all__ = ["BuildOptions", "Gallery", "build_gallery", "encode_queries", "verify"]
