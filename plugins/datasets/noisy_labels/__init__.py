"""Data sets of the task ``noisy_labels``: real pictures and texts whose training labels are made wrong by rule, or by people."""

from harness import Dataset, RawData, hookimpl
from plugins.data.images.animals import ANIMALS
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.cifar10n import CIFAR10N
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST
from plugins.data.images.optdigits import OPTDIGITS
from plugins.data.text.storm_spam import SMS_SPAM, YOUTUBE_SPAM
from plugins.data.text.wiki_topics import WIKI_TOPICS

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
PUBLISHED_SPLIT = "the split is the STORM paper's, and without noise nothing else is drawn"
expected_failures = {
    "sms_spam": {"other_seed_other_data": PUBLISHED_SPLIT},
    "youtube_spam": {"other_seed_other_data": PUBLISHED_SPLIT},
}


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield _spec(DIGITS, "Digits", "Handwritten digits, 8x8, 10 classes; the fastest")
    yield _spec(FASHION_MNIST, "FashionMnist", "Pictures of clothes, 28x28, 10 classes")
    yield _spec(MNIST, "Mnist", "Handwritten digits, 28x28, 10 classes")
    yield _spec(WIKI_TOPICS, "WikiTopics", "Topics of encyclopedia articles, 11 classes, TF-IDF")
    yield _spec(SMS_SPAM, "SmsSpam", "Spam among text messages, 2 classes, TF-IDF, the split of the STORM paper")
    yield _spec(YOUTUBE_SPAM, "YoutubeSpam", "Spam among video comments, 2 classes, TF-IDF, the split of the STORM paper")
    yield _picture_spec("cifar10", "Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)
    yield _picture_spec("cifar10n", "Cifar10n", "CIFAR-10 with the labels that people gave; not for commercial use", CIFAR10, CIFAR10N)
    yield _picture_spec("optdigits", "Optdigits", "Handwritten digits, 8x8, 10 classes, three times as many as digits", OPTDIGITS)
    yield _picture_spec("animals", "Animals", "Silhouettes of animals, 28x28, 10 classes", ANIMALS)
    yield _picture_spec("fashion_mnist_lt", "FashionMnistLongTail", "Fashion-MNIST with a long tail", FASHION_MNIST)
    yield _picture_spec("mnist_lt", "MnistLongTail", "MNIST with a long tail", MNIST)


def _spec(raw: RawData, class_name: str, summary: str) -> Dataset:
    return Dataset(name=raw.name, task="noisy_labels", entry=f"{__name__}.datasets:{class_name}", summary=summary, raw=(raw,))


def _picture_spec(name: str, class_name: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="noisy_labels", entry=f"{__name__}.images:{class_name}", summary=summary, raw=raw)
