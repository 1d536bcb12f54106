"""The database side on disk: build, import, append, resume, remove, compact, sync, open, verify."""

from patchrerank.gallery.backgrounds import Backgrounds
from patchrerank.gallery.build_options import BuildOptions
from patchrerank.gallery.builder import build_gallery
from patchrerank.gallery.compacting import compact
from patchrerank.gallery.compress import compress
from patchrerank.gallery.compress_learning import CompressOptions
from patchrerank.gallery.compression import Compression
from patchrerank.gallery.derive import derive_gallery
from patchrerank.gallery.exporting import export_gallery
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.importing import import_gallery
from patchrerank.gallery.local_builder import LocalOptions, build_local
from patchrerank.gallery.local_hdf5 import import_hdf5, read_hdf5, write_hdf5
from patchrerank.gallery.local_queries import encode_local_queries, encode_local_views
from patchrerank.gallery.local_store import LocalStore
from patchrerank.gallery.local_vectors import LocalVectors
from patchrerank.gallery.local_verify import verify_local
from patchrerank.gallery.merging import merge
from patchrerank.gallery.own_encoder import load_own_encoder
from patchrerank.gallery.packed_files import is_packed
from patchrerank.gallery.pictures import Pictures
from patchrerank.gallery.queries import encode_queries, encode_text_queries
from patchrerank.gallery.query_views import composed_queries
from patchrerank.gallery.recording_files import record_files
from patchrerank.gallery.removing import remove
from patchrerank.gallery.replacing import replace
from patchrerank.gallery.replacing_vectors import replace_vectors
from patchrerank.gallery.sync_options import Synced, SyncOptions
from patchrerank.gallery.syncing import sync
from patchrerank.gallery.vector_files import read_vectors
from patchrerank.gallery.verify import behind, verify
from patchrerank.gallery.write_backgrounds import write_backgrounds
from patchrerank.types import LocalQueries

__all__ = [
    "Backgrounds",
    "BuildOptions",
    "CompressOptions",
    "Compression",
    "Gallery",
    "LocalOptions",
    "LocalQueries",
    "LocalStore",
    "LocalVectors",
    "Pictures",
    "SyncOptions",
    "Synced",
    "behind",
    "build_gallery",
    "build_local",
    "compact",
    "composed_queries",
    "compress",
    "derive_gallery",
    "encode_local_queries",
    "encode_local_views",
    "encode_queries",
    "encode_text_queries",
    "export_gallery",
    "import_gallery",
    "import_hdf5",
    "is_packed",
    "load_own_encoder",
    "merge",
    "read_hdf5",
    "read_vectors",
    "record_files",
    "remove",
    "replace",
    "replace_vectors",
    "sync",
    "verify",
    "verify_local",
    "write_backgrounds",
    "write_hdf5",
]
