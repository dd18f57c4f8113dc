"""Methods of merging, one file each; `engine.merge` has their registry."""
