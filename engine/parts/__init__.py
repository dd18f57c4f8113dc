"""The parts of a spec, one file for what belongs together; `engine.spec` puts them together and gives them all out."""
