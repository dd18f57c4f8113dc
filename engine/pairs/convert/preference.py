"""One row of a preference data set, in any of the shapes that people publish, as a prompt and two answers.

Explicit prompt: text or messages beside the answers, which are text, messages, or whole conversations that begin with the prompt.
Implicit prompt: both sides are whole conversations (their common messages are the prompt) or whole texts (their common beginning, up
to a blank, is). Shapes: TRL's dataset formats; UltraFeedback's binarised form has a text prompt and whole conversations.
"""

from __future__ import annotations

from typing import Any

from engine.pairs.convert import ASSISTANT, USER, Messages, Row, refused


def read(row: Row, where: str) -> tuple[Messages, Messages, Messages]:
    """(prompt, chosen, rejected) as lists of {role, content}. DataError, with `where`, for a row that is no preference."""
    for side in ("chosen", "rejected"):
        if row.get(side) in (None, "", []):
            raise refused(f"expected {side}: text or a list of messages, found {row.get(side)!r}", where, f"columns: {', '.join(row)}")
    texts = [isinstance(row[side], str) for side in ("chosen", "rejected")]
    if texts[0] != texts[1]:
        raise refused("one of chosen and rejected is text, the other a list of messages", where, "give both in the same shape")
    prompt = row.get("prompt")
    if texts[0]:
        asked, chosen, rejected = _text(prompt, row["chosen"], row["rejected"], where)
    else:
        better, worse = (messages(row[side], f"{where}: {side}") for side in ("chosen", "rejected"))
        asked, chosen, rejected = _conversation(prompt, better, worse, where)
    for side, said in (("chosen", chosen), ("rejected", rejected)):
        if not said or not any(message["role"] == ASSISTANT for message in said):
            raise refused(
                f"{side} has no answer of its own beyond the prompt", where, "are the two sides equal, or one the other's beginning?"
            )
    if not asked:
        raise refused("the two sides share no prompt", where, "give a column `prompt`, or sides that begin with the same messages")
    return asked, chosen, rejected


def messages(value: Any, where: str) -> Messages:
    """A list of {role, content}; other keys are left out. DataError for anything else."""
    if not isinstance(value, list | tuple):
        raise refused(f"expected a list of messages, found {value!r}", where)
    for message in value:
        fits = isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        if not fits:
            raise refused(f"expected messages with role and content (text), found {message!r}", where)
    return [{"role": message["role"], "content": message["content"]} for message in value]


def asked_of(value: Any, where: str) -> Messages:
    """A prompt: text becomes one user message."""
    return [{"role": USER, "content": value}] if isinstance(value, str) else messages(value, f"{where}: prompt")


def answer(text: str) -> Messages:
    """A text as an assistant's message."""
    return [{"role": ASSISTANT, "content": text}]


def shared(chosen: str, rejected: str) -> int:
    """Where the common beginning of two texts ends, not within a word: behind the last blank of it."""
    n = next((i for i, (one, two) in enumerate(zip(chosen, rejected, strict=False)) if one != two), min(len(chosen), len(rejected)))
    while n and not chosen[n - 1].isspace():
        n -= 1
    return n


def _text(prompt: Any, chosen: str, rejected: str, where: str) -> tuple[Messages, Messages, Messages]:
    if prompt is not None:
        return asked_of(prompt, where), answer(chosen), answer(rejected)
    if chosen == rejected:
        raise refused("chosen and rejected are the same text, and there is no prompt", where)
    n = shared(chosen, rejected)
    if not chosen[n:].strip() or not rejected[n:].strip():
        raise refused("one side is the beginning of the other, so that its answer is empty", where, "give a column `prompt`")
    # blanks between prompt and answer belong to the answer: its first token is learned with them
    begin = len(chosen[:n].rstrip())
    return ([{"role": USER, "content": chosen[:begin]}] if begin else []), answer(chosen[begin:]), answer(rejected[begin:])


def _conversation(prompt: Any, chosen: Messages, rejected: Messages, where: str) -> tuple[Messages, Messages, Messages]:
    if prompt is None:
        n = next((i for i, (one, two) in enumerate(zip(chosen, rejected, strict=False)) if one != two), min(len(chosen), len(rejected)))
        return chosen[:n], chosen[n:], rejected[n:]
    asked = asked_of(prompt, where)
    n = len(asked)
    whole = [side[:n] == asked for side in (chosen, rejected)]
    if whole[0] != whole[1]:
        raise refused("one side begins with the prompt, the other does not", where, "give both as whole conversations, or both as answers")
    return (asked, chosen[n:], rejected[n:]) if whole[0] else (asked, chosen, rejected)
