"""The parts of `benchmarks/accuracy.py`: what is run, what is measured, and how it is scored."""
