"""The networks of the learned rerankers as torch modules; only their configurations are light.

Parameters are named as in the authors' checkpoints. Import the modules here only where torch may
be imported.
"""
