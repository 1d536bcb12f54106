"""Vector stores: galleries pushed into somebody's database, searched and reranked from there."""
