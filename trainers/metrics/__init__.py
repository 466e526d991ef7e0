"""Measures of a generator: functions on features (one file each), by name in METRICS, run by the Evaluator."""

from trainers.metrics.evaluator import Evaluator
from trainers.metrics.real import RemoteCache
from trainers.metrics.table import METRICS

__all__ = ["METRICS", "Evaluator", "RemoteCache"]
