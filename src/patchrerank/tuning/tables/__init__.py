"""Score tables: built once with models, read from files or from other people's runs, checked."""
