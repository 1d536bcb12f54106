"""A query in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchrerank.errors import QueryError, SettingError, described

PLACE = "{}"
"""Where the words stand in a template."""

AS_GIVEN = (PLACE,)


@dataclass(frozen=True)
class Text:
    """A query in words, for encoders that put words and pictures into one space.

    Attributes:
        words: what is looked for, such as ``a blue mug with a chip``.
        templates: sentences that the words are put into, at ``{}``; the vectors of several are
            averaged (prompt ensembling; Radford et al., CLIP, ICML 2021, section 3.1.4).

    Raises:
        QueryError: no words.
        SettingError: no template, or one without exactly one ``{}``.
    """

    words: str
    templates: Sequence[str] = AS_GIVEN

    def __post_init__(self) -> None:
        if not isinstance(self.words, str) or not self.words.strip():
            raise QueryError(f"a query in words needs some; got {described(self.words)}")
        object.__setattr__(self, "templates", checked_templates(self.templates))

    @property
    def prompts(self) -> list[str]:
        """What is encoded: the words in each template."""
        return [template.replace(PLACE, self.words.strip()) for template in self.templates]


def checked_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Return templates that words can be put into.

    Raises:
        SettingError: none, or one without exactly one ``{}``.
    """
    if isinstance(templates, str) or not isinstance(templates, Sequence) or not templates:
        raise SettingError(f"templates are a list of sentences with {{}}, not {templates!r}")
    for template in templates:
        if not isinstance(template, str) or template.count(PLACE) != 1:
            raise SettingError(
                f"the template {template!r} needs {{}} once, where the words go, as in "
                "'a photo of {}'"
            )
    return tuple(templates)
