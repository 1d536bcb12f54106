"""Fetching from the hub ends soon where the hub cannot be reached, and then uses what is here.

Without a network the hub's client tries again and again, a minute in all. One look beforehand
decides: if nobody answers, the client is told that it is offline while the weights are looked
for. What lies in its cache is then found at once, and what does not is said at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 4.0
"""Seconds within which the hub must answer anything at all."""

FETCH = (
    "check the connection, give a local file ({}), put the repository into the hub's cache "
    "(HF_HUB_CACHE), or ask for random weights (pretrained=False, --random-weights)"
)
"""What to do where weights cannot be fetched; to be filled in: how a file is named."""

_switching = threading.RLock()


@contextmanager
def bounded_hub(needed: bool = True) -> Iterator[None]:
    """Put the hub's client in its offline mode meanwhile if the hub does not answer.

    ``HF_HUB_OFFLINE``, ``HF_ENDPOINT`` and proxies of the environment count as for the client.

    Args:
        needed: False does nothing: nothing is to be fetched.
    """
    if not needed:
        yield
        return
    from huggingface_hub import constants

    with _switching:
        known = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = known or not _answers(constants.ENDPOINT)
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = known


def _answers(address: str) -> bool:
    """Return whether any answer comes; looking up the name may hang, so a thread does it."""
    found: list[bool] = []

    def ask() -> None:
        from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

        try:
            get_session().head(address, timeout=PATIENCE)
        except Exception:
            return
        found.append(True)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return bool(found)
