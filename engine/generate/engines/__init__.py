"""Engines in processes of their own: `worker` is what such a process runs, `child` one of them, `pool` all that answer together,
`launch` how they start, and `hints` what to do when they do not."""
