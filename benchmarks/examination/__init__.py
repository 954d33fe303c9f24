"""The examination of a model: parts, what each measures, and what was wanted. `benchmarks/quality.py` runs them."""
