"""Trials: the space they are drawn from, samplers, studies that outlive processes, exact search."""
