"""patchrerank: rescore an image-search shortlist with local evidence, with a box on every hit."""

__version__ = "0.1.0"
