"""Decoding with a model of transformers: `decode` is the loop, `batching` and `waiting` say who is in it, `sampler` draws, `cache`
keeps keys and values, `stops` ends answers at texts, `memory` sizes the batch, `lean` and `attention` save a small model's time."""
