"""Other people's stacks: what they hand over is translated, reranked, and handed back.

Nothing here is imported before it is asked for; each file needs one package, its extra.
"""
