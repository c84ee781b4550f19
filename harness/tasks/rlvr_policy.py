"""Moved to plugins.tasks.rlvr.policy; this path goes with version 0.3."""

import warnings

from plugins.tasks.rlvr.policy import COMPACT_BELOW, NEVER, Policy, PolicySettings, TokenFacts, TokenPolicy, draw_tokens, response_mask

__all__ = ["COMPACT_BELOW", "NEVER", "Policy", "PolicySettings", "TokenFacts", "TokenPolicy", "draw_tokens", "response_mask"]

warnings.warn(
    "harness.tasks.rlvr_policy has moved to plugins.tasks.rlvr.policy; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
