"""Frameworks of retrieval: their documents, nodes and frames in, the same in a better order out."""
