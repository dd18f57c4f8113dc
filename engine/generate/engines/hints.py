"""What to do about an engine that died, by what it printed."""

from __future__ import annotations

HINTS = (
    (("no module named 'vllm'",), "`pip install vllm==0.32.0`, or set params.python to the Python of an environment that has it"),
    (
        ("no available memory for the cache", "to serve at least one request", "kv cache is needed", "estimated maximum model length"),
        "lower params.max_model_len, or give it more memory: raise params.gpu_memory (GPU) or params.kv_cache_gb (CPU)",
    ),
    (
        ("less than desired gpu memory utilization", "free memory on device"),
        "another process fills the GPU: end it, or lower params.gpu_memory",
    ),
    (
        ("vllm_cpu_kvcache_space", "not enough available memory"),
        "lower params.kv_cache_gb, or free memory on this machine",
    ),
    (
        ("out of memory", "outofmemory", "cannot allocate memory", "memoryerror"),
        "lower params.gpu_memory or params.kv_cache_gb, params.max_model_len or params.max_running, or raise params.tensor_parallel",
    ),
    (("must `exec` it",), 'let the script end with: exec python "$@"'),
)


def hint(words: str) -> str:
    """What to do about an engine that printed these words before it died."""
    lower = words.lower()
    fits = (told for signs, told in HINTS if any(sign in lower for sign in signs))
    return next(fits, "read its log: it has every line that vLLM printed")
