"""Moved to plugins.data.images and plugins.data.text, one module a set; this path goes with version 0.3."""

import warnings

from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST, FASHION_MNIST_CODE
from plugins.data.images.mnist import MNIST
from plugins.data.text.storm_spam import SMS_SPAM, STORM_CODE, YOUTUBE_SPAM
from plugins.data.text.wiki_topics import WIKI_TOPICS

__all__ = ["DIGITS", "FASHION_MNIST", "FASHION_MNIST_CODE", "MNIST", "SMS_SPAM", "STORM_CODE", "WIKI_TOPICS", "YOUTUBE_SPAM"]

warnings.warn(
    "plugins.datasets.raw has moved to plugins.data.images and plugins.data.text, one module a set; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
