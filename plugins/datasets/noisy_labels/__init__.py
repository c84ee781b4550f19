"""Data sets of the task ``noisy_labels``: real pictures and texts whose training labels are made wrong by rule."""

from harness import Dataset, RawData, hookimpl
from plugins.datasets.raw import DIGITS, FASHION_MNIST, MNIST, SMS_SPAM, WIKI_TOPICS, YOUTUBE_SPAM


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield _spec(DIGITS, "Digits", "Handwritten digits, 8x8, 10 classes; the fastest")
    yield _spec(FASHION_MNIST, "FashionMnist", "Pictures of clothes, 28x28, 10 classes")
    yield _spec(MNIST, "Mnist", "Handwritten digits, 28x28, 10 classes")
    yield _spec(WIKI_TOPICS, "WikiTopics", "Topics of encyclopedia articles, 11 classes, TF-IDF")
    yield _spec(SMS_SPAM, "SmsSpam", "Spam among text messages, 2 classes, TF-IDF, the split of the STORM paper")
    yield _spec(YOUTUBE_SPAM, "YoutubeSpam", "Spam among video comments, 2 classes, TF-IDF, the split of the STORM paper")


def _spec(raw: RawData, class_name: str, summary: str) -> Dataset:
    return Dataset(name=raw.name, task="noisy_labels", entry=f"{__name__}.datasets:{class_name}", summary=summary, raw=(raw,))
