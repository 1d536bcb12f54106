"""Execution back ends: what runs a network behind ``Encoder.encode``, one file each."""
