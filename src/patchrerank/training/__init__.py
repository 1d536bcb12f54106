"""Training of learned rerankers (AMES, ELViS) on any data set, or on composites."""
