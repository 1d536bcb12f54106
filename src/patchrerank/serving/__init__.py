"""The reranker over HTTP: what a server holds, and the application on it."""

from patchrerank.serving.engine import Engine
from patchrerank.serving.loaded import Loaded
from patchrerank.serving.settings import ServiceSettings

__all__ = ["Engine", "Loaded", "ServiceSettings"]
