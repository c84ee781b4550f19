"""Data sets of the task ``lm_finetuning``: prompts with responses, general text, and the base that is fine-tuned."""

from harness import Dataset, hookimpl
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.data.text.pararule import PARARULE
from plugins.data.text.sarcasm import SARCASM
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.models.domains_llama import DOMAINS_LLAMA
from plugins.models.smollm2 import SMOLLM2

EXERCISES = (
    ("sarcasm", "Sarcasm", "Say whether a news headline is sarcastic or sincere", (SARCASM,)),
    ("wiki_topics", "WikiTopics", "Name the topic of an encyclopedia article, one of 11, from its beginning", (WIKI_TOPICS,)),
    ("pararule", "Pararule", "Say whether a statement follows from a passage of facts and rules", (PARARULE,)),
    ("chain_sum", "ChainSum", "Write the result of a chain of additions and subtractions, drawn", ()),
)


@hookimpl
def bench_datasets():
    """Give one spec a data set, and one a base where there are two."""
    yield Dataset(
        name="copy_digits",
        task="lm_finetuning",
        entry=f"{__name__}.copy_digits:CopyDigits",
        summary="Copying three digits by a base that counts, both drawn, to see whether a method runs",
        extra="lm",
    )
    for name, entry, summary, raw in EXERCISES:
        yield Dataset(
            name=name,
            task="lm_finetuning",
            entry=f"{__name__}.exercises:{entry}",
            summary=f"{summary}; a base of 1.4 million parameters",
            raw=raw,
            artifacts=(DOMAINS, DOMAINS_BPE),
            models=(DOMAINS_LLAMA,),
            extra="lm",
        )
        yield Dataset(
            name=f"{name}_smollm2",
            task="lm_finetuning",
            entry=f"{__name__}.exercises:SmolLM2{entry}",
            summary=f"{summary}; SmolLM2-135M-Instruct",
            raw=raw,
            artifacts=(DOMAINS, SMOLLM2),
            extra="lm",
        )
