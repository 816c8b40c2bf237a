"""Advice rules: one rule, one file; each turns numbers of a Diagnosis into a Finding."""
