"""Neural architecture search with predictors, zero-cost proxies and real training."""

__version__ = "0.1.0"

__all__ = ["__version__"]
