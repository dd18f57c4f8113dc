"""Objectives, one file each; `engine.train` has their registry."""
