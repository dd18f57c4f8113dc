"""The rule `language`: prompts that are surely in a language that is not wanted go.

The detector is py3langid (github.com/adbar/py3langid, BSD-3-Clause, 4.5 MB with its model, about 20,000 texts a second, no download);
lingua is surer on single words and takes 96 MB. What holds little language, such as a formula or code, is detected with low
probability; so a prompt goes only where the language found is not wanted and its probability reaches `language_confidence`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from engine.errors import SpecError
from engine.prompts.hygiene.rule import Drop, Row, Scene
from engine.prompts.hygiene.texts import asked
from engine.registry import nearest
from engine.spec import Hygiene

STEP = 256


@lru_cache(maxsize=1)
def _detector() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def check(settings: Hygiene) -> None:
    """SpecError for a code that the detector does not know."""
    known = list(_detector().labels)
    for code in settings.languages:
        if code not in known:
            hint = f"{nearest(code, known)} (ISO 639-1 codes such as en, de or zh)"
            raise SpecError(f"prompts.hygiene.languages: no language {code!r} among the {len(known)} that can be told apart", hint=hint)


def language(rows: list[Row], settings: Hygiene, scene: Scene) -> list[Drop]:
    """Drops rows in other languages than `languages`; `value` is the probability of the language found."""
    drops, found, unsure = [], dict[str, int](), 0
    scene.progress.begin("languages", len(rows), unit="prompts")
    for index, row in enumerate(rows):
        code, probability = _detector().classify(asked(row))
        probability = round(probability, 4)
        if probability < settings.language_confidence:
            unsure += 1
        else:
            found[code] = found.get(code, 0) + 1
            if code not in settings.languages:
                drops.append(
                    Drop(index, f"in {code}, with probability {probability}; wanted: {', '.join(settings.languages)}", probability)
                )
        if index % STEP == STEP - 1:
            scene.progress.advance(STEP)
    scene.detail["language"] = {"found": dict(sorted(found.items())), "unsure": unsure}
    return drops
