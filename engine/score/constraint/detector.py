"""What language is a text in?

IFEval asks langdetect, which is slow and draws at random. This asks py3langid (github.com/adbar/py3langid, BSD-3-Clause), among the
languages that langdetect tells apart, so that no answer is lost to a close relative that nobody asked for (Egyptian for
Arabic, Pidgin for English). The two agree on whole sentences; on a few words either may be wrong.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("languages.yaml")
# langdetect reads no further either
LONGEST = 10_000


@lru_cache(maxsize=1)
def names() -> dict[str, str]:
    """The English name of every language that can be asked for, by its ISO 639-1 code."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _detector() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    detector = LanguageIdentifier.from_model_file(MODEL_FILE)
    detector.set_languages(list(names()))
    return detector


def language(text: str) -> str | None:
    """The code of the most probable language of the first 10,000 characters; None where none of them is a letter."""
    text = text[:LONGEST]
    if not any(map(str.isalpha, text)):
        return None
    code: str = _detector().classify(text)[0]
    return code
