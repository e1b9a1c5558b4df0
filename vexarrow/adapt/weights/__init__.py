"""Projections that ship with vexarrow, as *.safetensors; found through its own entry point."""
