"""What fusions and cascades are worth on a score table, by counting instead of sorting."""
