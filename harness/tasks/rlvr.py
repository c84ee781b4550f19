"""Moved to plugins.tasks.rlvr.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.rlvr.environment import Demonstrations, Environment, verified
from plugins.tasks.rlvr.learner import Learner
from plugins.tasks.rlvr.protocol import (
    DIVERSITY_SAMPLES,
    LAST_ITERATIONS,
    POLICY_FILE,
    Outcome,
    Pretraining,
    RlvrData,
    RlvrMethod,
    RlvrProtocol,
    TestLevel,
    pretrain,
)
from plugins.tasks.rlvr.rollouts import SAMPLE_BATCH, Rollouts, Tokens

__all__ = [
    "DIVERSITY_SAMPLES",
    "LAST_ITERATIONS",
    "POLICY_FILE",
    "SAMPLE_BATCH",
    "Demonstrations",
    "Environment",
    "Learner",
    "Outcome",
    "Pretraining",
    "RlvrData",
    "RlvrMethod",
    "RlvrProtocol",
    "Rollouts",
    "TestLevel",
    "Tokens",
    "pretrain",
    "verified",
]

warnings.warn(
    "harness.tasks.rlvr has moved to plugins.tasks.rlvr.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
