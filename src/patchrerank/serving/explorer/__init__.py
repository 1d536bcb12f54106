"""A page on which a gallery is searched, and λ, γ, k and stages are seen at work."""

from patchrerank.serving.explorer.routes import explorer_pages, explorer_routes

__all__ = ["explorer_pages", "explorer_routes"]
