"""Models on disk: where they are, what identifies them, how they are loaded, and the text that they see.

A folder holds a whole model or an adapter of PEFT (`engine.adapters`), whose base lies elsewhere. Only safetensors are loaded, and
code of a model's own repository only where the spec says so. Importing this file loads neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import adapters, attention, modelfiles
from engine.errors import ModelError
from engine.modelfiles import HUB_ID as HUB_ID
from engine.modelfiles import resolve as resolve

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from engine.step import Device

ASSISTANT = "assistant"  # the role whose messages are answers
# What transformers raises for folders that are incomplete or broken, depending on what is wrong with them.
LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)


def digest(path: Path) -> str:
    """16 hex digits over names and bytes of weights, config, tokenizer and chat template; of an adapter also those of its base.

    Cached in the process by path, size and time of change of every file. ModelError where the folder or its weights are missing.
    """
    adapter = adapters.find(path)
    return adapters.digest(adapter) if adapter else modelfiles.digest(path)


def named(path: Path) -> str:
    """What stands for a folder in a fingerprint: its digest; an adapter's base on the hub enters by its id, so nothing is fetched."""
    return adapters.named(path) if adapters.is_adapter(path) else modelfiles.digest(path)


def check(path: Path) -> None:
    """ModelError for a folder that cannot be a model: no safetensors, no config, JSON that is none, an adapter without its base.
    Loads nothing, and does not look for a base on the hub."""
    adapters.check(path) if adapters.is_adapter(path) else modelfiles.check(path)


def load_tokenizer(path: Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, of an adapter its own where it has one, else its base's; ModelError where it is missing or
    broken."""
    adapter = adapters.find(path)
    template = None
    if adapter and not modelfiles.has_tokenizer(path):
        path, template = adapter.base, adapters.own_template(path)
    modelfiles.check_json(modelfiles.files(path))
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
    except LOAD_ERRORS as error:
        raise ModelError(
            f"cannot load the tokenizer: {type(error).__name__}: {error}",
            where=str(path),
            hint="expected tokenizer.json and tokenizer_config.json as transformers saves them",
        ) from error
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def load(
    path: Path, device: Device, trust_remote_code: bool = False, kind: str = "CausalLM", train: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in evaluation mode on `device`, and its tokenizer; sets torch's thread count. `kind`: CausalLM or SequenceClassification.

    An adapter stands in the layers of its base, beside their weights; with `train` it is merged into them (in float32, then
    rounded to the device's dtype), so that what comes back is a whole model whose weights can all be trained.

    ModelError, with the cause, for a missing folder, no safetensors, a broken config, weights that do not fill the model, an
    adapter that does not fit its base, an attention that the model lacks, quantised weights whose package is missing or that should
    train, or a tokenizer that cannot be read.
    """
    check(path)
    import torch
    from transformers.utils import logging

    torch.set_num_threads(device.threads)
    logging.disable_progress_bar()
    tokenizer, adapter = load_tokenizer(path, trust_remote_code), adapters.find(path)
    folder = adapter.base if adapter else path
    quantised = modelfiles.quantised(folder)
    if quantised and train:
        raise ModelError(
            f"the weights are quantised ({quantised}), and such weights do not train here",
            where=str(folder),
            hint="train from the model as it was before, in bfloat16 or float32",
        )
    dtype = getattr(torch, device.dtype)
    model, info = _weights(folder, device, trust_remote_code, kind, torch.float32 if adapter and train else dtype, quantised)
    _filled(folder, info, adapters.provided(adapter) if adapter else set())
    if adapter and train:  # on the CPU, since float32 may be more than the device holds
        model = adapters.put_on(model, adapter, "cpu", merge=True).to(dtype)
    if not quantised:  # those are on the device already
        model = model.to(device.device)
    if adapter and not train:
        model = adapters.put_on(model, adapter, device.device)
    return model.eval(), tokenizer


def _weights(folder: Path, device: Device, trust_remote_code: bool, kind: str, dtype: Any, quantised: str | None) -> tuple[Any, Any]:
    """The model of a whole folder, and what transformers says of its tensors."""
    import transformers
    from safetensors import SafetensorError

    auto = getattr(transformers, f"AutoModelFor{kind}")
    more = attention.arguments(auto, folder, device, trust_remote_code)
    if quantised:  # moved after loading they would be unpacked, or not move at all
        more["device_map"] = {"": device.device}
    try:
        return auto.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
            **more,
        )
    except (*LOAD_ERRORS, SafetensorError) as error:
        what = f"the model, whose weights are quantised ({quantised})" if quantised else "the model"
        hint = "expected config.json and *.safetensors as transformers saves them"
        if quantised:
            hint = f"install the package that the message names, on a machine that {quantised} supports, or take the model unquantised"
        raise ModelError(f"cannot load {what}: {type(error).__name__}: {error}", where=str(folder), hint=hint) from error


def _filled(folder: Path, info: dict[str, Any], provided: set[str]) -> None:
    """ModelError where tensors of the model are neither in its folder nor `provided` by an adapter."""
    lost = sorted(set(info["missing_keys"]) - provided) + sorted(str(key) for key in info["mismatched_keys"])
    if lost:
        raise ModelError(
            f"the weights do not fill the model: {len(lost)} tensors are missing or of another shape, first {lost[0]}",
            where=str(folder),
            hint="the folder is incomplete, its config.json belongs to another model, or a language model stands where a head is needed",
        )


def chats(tokenizer: PreTrainedTokenizerBase, chat: bool | None) -> bool:
    """Whether the chat template is used: as asked, or where there is one. ModelError where one is asked for and missing."""
    if chat and not tokenizer.chat_template:
        raise ModelError(
            "chat: true, but the model has no chat template",
            where=str(tokenizer.name_or_path),
            hint="set generate.chat to false, or add a chat_template.jinja to the model's folder",
        )
    return bool(tokenizer.chat_template) if chat is None else chat


def begun(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether the last message is an answer that is begun, on which the model is to go on."""
    return len(messages) > 1 and messages[-1]["role"] == ASSISTANT


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, Any]], chat: bool | None) -> str:
    """The text that the model sees before its answer: the chat template with its generation prompt, else the contents by line.

    A last message of the assistant is an answer that is begun: its text ends what the model sees, and the model goes on from there.
    """
    if begun(messages):
        return render(tokenizer, messages[:-1], chat) + str(messages[-1]["content"])
    if not chats(tokenizer, chat):
        return "\n".join(message["content"] for message in messages)
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template([dict(m) for m in messages], tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise ModelError(
            f"the chat template refuses these messages: {error}",
            where=str(tokenizer.name_or_path),
            hint=f"roles found: {', '.join(m['role'] for m in messages)}",
        ) from error


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], chat: bool | None) -> list[list[int]]:
    """Token ids of rendered texts; special tokens (BOS) are added only where no chat template has written them."""
    return tokenizer(texts, add_special_tokens=not chats(tokenizer, chat))["input_ids"] if texts else []
