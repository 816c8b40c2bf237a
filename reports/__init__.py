"""Renderers of a Diagnosis, and the advice rules that add findings to it."""
