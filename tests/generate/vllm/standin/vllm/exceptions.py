"""What vLLM raises."""


class VLLMClientError(Exception):
    """A request that is not taken."""
