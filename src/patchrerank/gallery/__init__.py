"""The database side on disk: build, append, resume, open, verify."""

from patchrerank.gallery.builder import BuildOptions, build_gallery
from patchrerank.gallery.compress import Compression, CompressOptions, compress
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.queries import encode_queries
from patchrerank.gallery.verify import verify

__all__ = [
    "BuildOptions",
    "CompressOptions",
    "Compression",
    "Gallery",
    "build_gallery",
    "compress",
    "encode_queries",
    "verify",
]
