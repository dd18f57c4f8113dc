"""The settings of the backend `vllm`, and from them how its processes start."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from engine import models
from engine.errors import SpecError
from engine.generate import schema
from engine.generate.engines.pool import Launch
from engine.params import Params

if TYPE_CHECKING:
    from engine.adapters import Adapter
    from engine.generate import Job
    from engine.step import Model

COLDEST = 0.01  # vLLM raises lower temperatures to this one
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # largest ranks that an engine can be started for
PROBE = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
# Arguments of vLLM's that other settings stand for, or that the backend relies on.
OURS = {
    "model": "models.policy, or `model` of an actor",
    "tokenizer": "the model's own",
    "dtype": "params.dtype",
    "seed": "seed of the spec",
    "trust_remote_code": "models.trust_remote_code",
    "tensor_parallel_size": "params.tensor_parallel",
    "data_parallel_size": "params.data_parallel",
    "gpu_memory_utilization": "params.gpu_memory",
    "max_model_len": "params.max_model_len",
    "quantization": "params.quantization",
    "enforce_eager": "params.enforce_eager",
    "max_num_seqs": "params.max_running",
    "enable_lora": "the model: a folder with an adapter is served as one",
    "max_lora_rank": "the adapter's own",
    "generation_config": "the sampler of the spec",
    "logprobs_mode": "log-probabilities are those of the model, before temperature and filters",
}


class VllmParams(Params):
    """What is `exclude`d changes no answer beyond rounding and enters no fingerprint."""

    python: str | None = Field(None, exclude=True, description="Python of an environment that has vLLM; none: the one that runs Rondo")
    tensor_parallel: int = Field(1, gt=0, exclude=True, description="GPUs that one copy of the model is spread over")
    data_parallel: int = Field(1, gt=0, exclude=True, description="copies of the model, each in a process and on GPUs of its own")
    gpu_memory: float = Field(0.9, gt=0, le=1, exclude=True, description="share of each GPU's memory that vLLM takes")
    kv_cache_gb: int = Field(2, gt=0, exclude=True, description="on a CPU: memory for keys and values, in GiB")
    max_running: int = Field(256, gt=0, exclude=True, description="most answers that run at the same time, in each copy")
    max_model_len: int | None = Field(None, gt=1, description="most tokens of prompt and answer together; none: what the model takes")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(None, description="of the weights; none: compute.dtype")
    quantization: str | None = Field(None, description="vLLM's name of a quantisation; none: what the model's config says")
    enforce_eager: bool | None = Field(None, exclude=True, description="no CUDA graphs, no compilation; none: on a CPU only")
    json_schema: dict[str, Any] | str | None = Field(None, description="JSON Schema that answers must fit, or a file with one")
    choice: tuple[str, ...] | None = Field(None, min_length=1, description="texts of which an answer must be one")
    regex: str | None = Field(None, min_length=1, description="regular expression that answers must match")
    engine: dict[str, Any] = Field({}, description="further arguments of vLLM's EngineArgs")
    start_timeout: float = Field(900.0, gt=0, exclude=True, description="seconds that an engine may take to start")
    stall_timeout: float = Field(600.0, gt=0, exclude=True, description="seconds without a sign of life after which it counts as dead")
    restarts: int = Field(2, ge=0, exclude=True, description="times that a dead engine is started anew in one step")

    @model_validator(mode="after")
    def _apart(self) -> VllmParams:
        given = [name for name in ("json_schema", "choice", "regex") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"only one of json_schema, choice and regex can be asked for, found {', '.join(given)}")
        for name in self.engine:
            if name in OURS:
                raise ValueError(f"engine.{name} is not set here: {OURS[name]}")
        return self

    def interpreter(self, spec_path: Path) -> str:
        """The Python that runs vLLM; a path in the spec is relative to the spec."""
        return sys.executable if self.python is None else str((spec_path.parent / os.path.expanduser(self.python)).absolute())


class Start(NamedTuple):
    """How to start an engine; `model`: digest of the weights that it holds; `devices` beyond the experiment's own that it fills."""

    launch: Launch
    model: str
    devices: tuple[str, ...]


def constraint(params: VllmParams, spec_path: Path) -> dict[str, Any] | None:
    """Arguments of vLLM's StructuredOutputsParams; None: any text will do. SpecError or DataError as `engine.generate.schema.read`."""
    if params.choice is not None:
        return {"choice": list(params.choice)}
    if params.regex is not None:
        return {"regex": params.regex}
    return None if params.json_schema is None else {"json": schema.read(params.json_schema, spec_path)}


@lru_cache
def installed(python: str) -> bool:
    """Whether an interpreter finds vLLM. SpecError for one that cannot be run."""
    if python == sys.executable:
        return importlib.util.find_spec("vllm") is not None
    try:
        return subprocess.run([python, "-c", PROBE], capture_output=True, timeout=120, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SpecError(f"params.python: cannot run it: {error}", where=python, hint="give the path of a Python that has vLLM") from error


def seen(model: Model, adapter: Adapter | None) -> Path:
    """The folder that vLLM loads: the model's, of an adapter its base's."""
    return adapter.base if adapter else model.path


def launch(job: Job, params: VllmParams, adapter: Adapter | None, longest: int | None, logs: Path) -> Start:
    """How the engine of a job starts. SpecError for an adapter whose rank vLLM cannot serve."""
    assert job.model is not None
    arguments = arguments_of(job, params, adapter, longest)
    environments, devices = placed(job, params)
    made = Launch(
        python=params.interpreter(job.spec_path),
        arguments=arguments,
        environments=environments,
        log=logs / "vllm.log",
        window=2 * params.max_running,
        start_timeout=params.start_timeout,
        stall_timeout=params.stall_timeout,
    )
    return Start(made, models.digest(adapter.base) if adapter else job.model.digest, devices)


def arguments_of(job: Job, params: VllmParams, adapter: Adapter | None, longest: int | None) -> dict[str, Any]:
    """Arguments of vLLM's EngineArgs."""
    assert job.model is not None
    given: dict[str, Any] = {
        "model": str(seen(job.model, adapter)),
        "dtype": params.dtype or job.device.dtype,
        "trust_remote_code": job.trust_remote_code,
        "tensor_parallel_size": params.tensor_parallel,
        "gpu_memory_utilization": params.gpu_memory,
        "max_num_seqs": params.max_running,
        "enforce_eager": job.device.device == "cpu" if params.enforce_eager is None else params.enforce_eager,
        "enable_prefix_caching": True,
        "generation_config": "vllm",  # the sampler is the spec's, not the model folder's
        "logprobs_mode": "raw_logprobs",
        "disable_log_stats": True,
        "seed": 0,  # each request has its own
    }
    given |= {"max_model_len": longest} if longest else {}
    given |= {"quantization": params.quantization} if params.quantization else {}
    if adapter:
        rank = next((rank for rank in RANKS if rank >= adapter.rank), None)
        if rank is None:
            raise SpecError(f"vLLM serves adapters up to rank {RANKS[-1]}, found {adapter.rank}", where=str(adapter.path), hint="merge it")
        given |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
    return given | params.engine


def placed(job: Job, params: VllmParams) -> tuple[tuple[dict[str, str], ...], tuple[str, ...]]:
    """(what is added to each process's environment, the devices beyond the experiment's own that they use).

    On GPUs the copies take the experiment's device and those after it, `tensor_parallel` each. SpecError where there are too few.
    """
    cpu = job.device.device == "cpu"
    common = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the process that we own is the one that computes
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",  # a model is a folder; nothing is fetched behind the spec's back
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(job.device.threads),
    }
    if cpu:
        cores = {"VLLM_CPU_KVCACHE_SPACE": str(params.kv_cache_gb), "VLLM_CPU_OMP_THREADS_BIND": "nobind", "CUDA_VISIBLE_DEVICES": ""}
        return (common | cores,) * params.data_parallel, ()
    first = int(job.device.device.partition(":")[2] or 0)
    wanted = range(first, first + params.tensor_parallel * params.data_parallel)
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if visible and wanted[-1] >= len(visible):
        text = f"{len(wanted)} GPUs from {job.device.device} on are asked for, but CUDA_VISIBLE_DEVICES names {len(visible)}"
        raise SpecError(f"params.tensor_parallel and data_parallel: {text}", hint="lower one of them")
    names = [visible[number] if visible else str(number) for number in wanted]
    groups = [names[at : at + params.tensor_parallel] for at in range(0, len(names), params.tensor_parallel)]
    return tuple(common | {"CUDA_VISIBLE_DEVICES": ",".join(group)} for group in groups), tuple(f"cuda:{n}" for n in wanted[1:])
