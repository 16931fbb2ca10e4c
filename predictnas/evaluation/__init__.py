"""How good scores, predictors and searches are, with intervals."""

from predictnas.evaluation.bootstrap import Bootstrapped, Resamples, bootstrap_interval
from predictnas.evaluation.calibration import Calibration, calibration, constant_nll
from predictnas.evaluation.correlation import Correlation, correlate
from predictnas.evaluation.cross_validation import (
    CrossValidation,
    ProbabilisticRegressor,
    cross_validate,
)
from predictnas.evaluation.noise_ceiling import NoiseCeiling, noise_ceiling
from predictnas.evaluation.rank_correlation import (
    kendall_interval,
    kendall_tau,
    spearman,
    spearman_interval,
)
from predictnas.evaluation.ranking_quality import (
    RankingQuality,
    ranking_quality,
    seed_agreement,
)
from predictnas.evaluation.top_ranks import ndcg, precision_at
from predictnas.evaluation.trajectories import (
    MeanInterval,
    best_so_far,
    mean_interval,
    paired_difference,
)

__all__ = [
    "Bootstrapped",
    "Calibration",
    "Correlation",
    "CrossValidation",
    "MeanInterval",
    "NoiseCeiling",
    "ProbabilisticRegressor",
    "RankingQuality",
    "Resamples",
    "best_so_far",
    "bootstrap_interval",
    "calibration",
    "constant_nll",
    "correlate",
    "cross_validate",
    "kendall_interval",
    "kendall_tau",
    "mean_interval",
    "ndcg",
    "noise_ceiling",
    "paired_difference",
    "precision_at",
    "ranking_quality",
    "seed_agreement",
    "spearman",
    "spearman_interval",
]
