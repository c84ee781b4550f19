"""The pages: what they show, that nothing in them is read as markup, and what the server gives away."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from http.client import HTTPConnection

import page_samples as samples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli.view_command import make_server, page_of
from harness.errors import BenchError
from harness.report.claims import to_json as claims_to_json
from harness.report.curves import average_curve
from harness.report.files import to_json
from harness.report.index import write_index
from harness.report.latex import escape, to_latex
from harness.report.page import to_page, write_page
from harness.report.plots import Point, close_groups, cost_scatter, learning_curves, pareto_front
from harness.report.styles import style_of


class Parsed(HTMLParser):
    """What a page's markup consists of, and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = [""]
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open.append(tag)

    def handle_data(self, data):
        self.texts.setdefault(self._open[-1], []).append(data)

    def all_text(self) -> str:
        return "".join(text for tag, texts in self.texts.items() if tag not in ("script", "style") for text in texts)

    def data(self):
        """Return what the script reads."""
        return json.loads(self.texts["script"][0])


@pytest.fixture(scope="module")
def page() -> str:
    return to_page(samples.make_evidence())


@pytest.fixture(scope="module")
def parsed(page) -> Parsed:
    return Parsed(page)


def test_what_files_and_plugins_say_makes_no_element_and_no_handler(parsed):
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == 2
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]


def test_a_hostile_label_is_shown_as_it_is_written(parsed):
    assert parsed.all_text().count(samples.HOSTILE) > 10


def test_the_data_of_the_script_hold_hostile_parameters_and_tracebacks_whole(parsed):
    data = parsed.data()

    assert data["methods"] == list(samples.METHODS)
    assert ["method", "better", {"comment": samples.HOSTILE}] in data["parts"]
    assert data["errors"] == [f"Traceback (most recent call last):\nValueError: {samples.HOSTILE}"]


def test_the_data_of_the_script_hold_no_bracket_that_could_end_them(parsed):
    assert not set("<>&") & set(parsed.texts["script"][0])


def test_a_page_refers_to_nothing_outside_itself(page, parsed):
    links = {value for _, name, value in parsed.attributes if name in ("href", "src", "action", "data", "srcset", "poster")}

    assert {link for link in links if not link.startswith("#")} == {"../index.html", "data:,"}
    assert not re.search(r"url\((?!#)|@import", page)
    assert "default-src 'none'" in page


def test_the_same_evidence_gives_the_same_bytes(page):
    assert to_page(samples.make_evidence()) == page


def test_every_trial_is_in_the_drill_down_with_its_status_and_figures(parsed):
    data = parsed.data()
    trials = data["cells"][2][2]["trials"]

    assert [trial[0] for trial in trials] == list(samples.SEEDS)
    assert [trial[2] for trial in trials] == ["ok", "ok", "ok", "failed"]
    assert trials[3][3] == [None, None]
    assert trials[3][5] == 0
    assert trials[0][3][0] == pytest.approx(0.61)


def test_a_page_without_records_shows_what_is_missing():
    data = Parsed(to_page(samples.make_evidence(records={}))).data()

    assert {trial[2] for row in data["cells"] for cell in row for trial in cell["trials"]} == {"missing"}


def test_a_page_of_one_data_set_and_one_seed_has_no_ranks_and_no_bands():
    page = to_page(samples.make_evidence(samples.make_plan(datasets=("easy",), seeds=(0,))))

    assert 'id="ranks"' not in page
    assert not re.search(r'class="series-\d+ band"', page)


def test_figures_of_two_kinds_share_no_identifier(parsed):
    identifiers = [value for _, name, value in parsed.attributes if name == "id"]

    assert len(identifiers) == len(set(identifiers))


def test_a_traceback_without_end_does_not_fill_the_page():
    evidence = samples.make_evidence()
    long = {key: replace(record, error="x" * 100_000 + "the end") for key, record in evidence.records.items()}

    (text,) = Parsed(to_page(replace(evidence, records=long))).data()["errors"]

    assert len(text) < 7_000
    assert text.startswith("[the beginning is left out here")
    assert text.endswith("the end")


def test_tracebacks_beyond_the_budget_keep_their_last_line():
    evidence = samples.make_evidence()
    many = {key: replace(record, error=f"{place}" * 5_000 + "\nlast line") for place, (key, record) in enumerate(evidence.records.items())}

    texts = Parsed(to_page(replace(evidence, records=many))).data()["errors"]

    assert all(text.endswith("last line") for text in texts)


def test_a_curve_is_averaged_over_the_steps_that_all_seeds_have():
    curve = average_curve([[(0, 1.0), (1, 2.0), (2, 3.0)], [(0, 3.0), (2, 5.0), (3, 9.0)]], style_of(0, 0), 60)

    assert curve.steps.tolist() == [0, 2]
    assert curve.mean.tolist() == [2.0, 4.0]


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    curve = average_curve([[(step, float(step)) for step in range(1000)]], style_of(0, 0), 60)

    assert len(curve.steps) == 60
    assert (curve.steps[0], curve.steps[-1]) == (0, 999)


def test_a_curve_of_one_shared_step_is_none():
    assert average_curve([[(0, 1.0)], [(0, 2.0)]], style_of(0, 0), 60) is None


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=8), st.booleans())
@settings(deadline=None)
def test_the_pareto_front_holds_whom_nobody_beats(pairs, lower):
    points = [Point(str(place), style_of(place, 0), float(cost), float(quality)) for place, (cost, quality) in enumerate(pairs)]
    sign = -1 if lower else 1

    front = pareto_front(points, lower_is_better=lower)

    unbeaten = {
        (one.cost, one.quality)
        for one in points
        if not any(
            other.cost <= one.cost and sign * other.quality >= sign * one.quality and (other.cost, other.quality) != (one.cost, one.quality)
            for other in points
        )
    }
    assert {(point.cost, point.quality) for point in front} == unbeaten
    assert len(front) == len(unbeaten)


def test_groups_of_ranks_are_the_largest_within_the_critical_difference():
    assert close_groups([1.0, 1.5, 2.5, 4.0], 1.5) == [(0, 2), (2, 3)]
    assert close_groups([1.0, 3.0, 5.0], 1.5) == []


def test_a_figure_takes_labels_that_no_font_and_no_xml_knows():
    points = [Point("漢字 $\\frac \x00 &", style_of(1, 0), 1.0, 1.0), Point("b", style_of(2, 0), 2.0, 2.0)]

    svg = cost_scatter(points, "rank", lower_is_better=True, percent=False, name="scatter")

    assert "漢字 $\\frac � &amp;" in svg


def test_an_axis_over_many_magnitudes_is_labelled_in_plain_numbers():
    curve = average_curve([[(step, 10.0**-step) for step in range(4)]], style_of(0, 0), 60)

    svg = learning_curves([curve], "step", percent=False, name="curve", title="loss")

    assert ">0.001</text>" in svg
    assert "mathdefault" not in svg


def test_colours_of_figures_are_the_pages_own(page):
    assert not re.search(r"(?:fill|stroke): #", page)
    assert "var(--series-0)" in page


def test_a_page_that_is_up_to_date_is_left_alone(tmp_path):
    (tmp_path / "sample").mkdir()
    evidence = samples.make_evidence()
    path = write_page(evidence, tmp_path / "sample", tmp_path)
    path.write_text(path.read_text().replace("</body>", "untouched</body>"))

    write_page(evidence, tmp_path / "sample", tmp_path)

    assert "untouched" in path.read_text()


def test_a_page_of_other_evidence_is_drawn_anew(tmp_path):
    (tmp_path / "sample").mkdir()
    evidence = samples.make_evidence()
    path = write_page(evidence, tmp_path / "sample", tmp_path)

    write_page(replace(evidence, board=replace(evidence.board, inputs="others", summary="Another")), tmp_path / "sample", tmp_path)

    assert "Another" in path.read_text()


@pytest.fixture
def results(tmp_path):
    """Return a folder with the reports of a suite, of one in a subfolder, and of a broken one."""
    evidence = samples.make_evidence()
    for name in ("sample", "paper/sample", "broken"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "leaderboard.json").write_text(to_json(evidence.board))
        (folder / "claims.json").write_text(claims_to_json(evidence.claims))
        write_page(evidence, folder, tmp_path)
    (tmp_path / "broken" / "leaderboard.json").write_text("{")
    write_index(tmp_path)

    return tmp_path


def test_the_index_joins_all_suites_and_says_which_cannot_be_read(results):
    parsed = Parsed((results / "index.html").read_text())

    links = [value for tag, name, value in parsed.attributes if (tag, name) == ("a", "href")]
    assert links == ["#task-0", "#task-1", "broken/index.html", "paper/sample/index.html", "sample/index.html"]
    assert "Cannot be read" in parsed.all_text()
    assert "1 reproduced" in parsed.all_text()
    assert parsed.tags.count("script") == 1
    assert "img" not in parsed.tags


def test_the_index_follows_the_leaderboards(results):
    (results / "broken" / "leaderboard.json").unlink()

    write_index(results)

    assert "Cannot be read" not in (results / "index.html").read_text()


def test_the_index_leaves_out_suites_that_the_command_line_changed(results):
    (results / "sample").rename(results / "sample-modified")

    write_index(results)

    assert "sample-modified" not in (results / "index.html").read_text()


def test_a_page_in_a_subfolder_links_back(results):
    assert 'href="../../index.html"' in (results / "paper/sample/index.html").read_text()


def test_latex_has_the_figures_of_the_markdown_and_escapes_labels():
    board = samples.make_evidence().board

    text = to_latex(board, "bench leaderboard sample")

    cell = board.cell("easy", "better", "accuracy")
    assert f"{100 * cell.mean:.1f} $\\pm${50 * (cell.high - cell.low):.1f}" in text
    assert r"\textless{}img" in text
    assert r"\{\{7\textasteriskcentered{}7\}\}" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


@given(st.text(st.characters(max_codepoint=126)))
def test_no_text_ends_a_latex_cell_or_starts_a_command(text):
    escaped = escape(text)

    allowed = r"\\[&%$#_{}]|\\[A-Za-z]+\{\d*\}|\{[\[\]]\}|\$[-a-zA-Z\\]*\$"
    assert not re.search(r"[\\&%$#_{}~^\n]", re.sub(allowed, "", escaped))


@given(st.text())
def test_what_latex_writes_for_a_text_closes_what_it_opens(text):
    bare = re.sub(r"\\[&%$#_{}]", "", escape(text))

    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[&%#\n]", bare)


@contextmanager
def serving(folder):
    with make_server(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def status_of(server, path: str, host: str = "") -> int:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest("GET", path, skip_host=bool(host))
    if host:
        connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()

    return status


def test_the_server_gives_the_pages_on_this_machine_alone(results):
    with serving(results) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert [status_of(server, path) for path in ("/", "/sample/", "/paper/sample/index.html", "/sample/leaderboard.json")] == [200] * 4


def test_the_server_gives_nothing_else(results):
    secret = results.parent / f"{results.name}-secret.html"
    secret.write_text("secret")
    (results / "bench.db").write_text("records")
    (results / ".hidden.html").write_text("hidden")
    (results / "link.html").symlink_to(secret)
    paths = (
        f"/../{secret.name}",
        f"/%2e%2e/{secret.name}",
        f"/sample/..%2f..%2f{secret.name}",
        f"//{secret}",
        "/bench.db",
        "/.hidden.html",
        "/link.html",
        "/paper/",
    )

    with serving(results) as server:
        assert [status_of(server, path) for path in paths] == [404] * len(paths)


def test_the_server_answers_nobody_who_came_by_another_name(results):
    with serving(results) as server:
        assert status_of(server, "/", host=f"attacker.example:{server.server_port}") == 403
        assert status_of(server, "/", host=f"localhost:{server.server_port}") == 200


def test_a_port_that_is_taken_is_one_message(results):
    with serving(results) as server, pytest.raises(BenchError, match="choose another --port"):
        make_server(results, server.server_port)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, "index.html"),
        ("sample", "sample/index.html"),
        ("suites/paper/sample.yaml", "paper/sample/index.html"),
        ("my/sample.yaml", "sample/index.html"),
    ],
)
def test_a_suite_is_found_by_its_name_or_its_file(results, asked, found):
    assert page_of(asked, results) == found


def test_a_suite_without_a_page_says_what_makes_one(results):
    with pytest.raises(BenchError, match=r"(?s)no page of 'smple'.*did you mean 'sample'.*bench leaderboard smple --page"):
        page_of("smple", results)


def test_view_serves_until_it_is_interrupted_and_ends_well(bench, results):
    command = bench.command("view", "sample", "--no-open", "--results", results)
    with subprocess.Popen(command, cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        address = re.match(r"http://127\.0\.0\.1:(\d+)(/sample/index\.html) ", line)
        connection = HTTPConnection("127.0.0.1", int(address[1]), timeout=10)
        connection.request("GET", address[2])
        status = connection.getresponse().status
        connection.close()
        process.send_signal(signal.SIGINT)

        assert process.wait(10) == 0
    assert status == 200


def test_a_run_draws_the_pages_and_a_leaderboard_draws_them_on_demand(bench, toy):
    suite = bench.suite("task: toy\nbudget: {steps: 3}\nseeds: 2\ndatasets: [numbers]\nmethods: [constant, noisy]\n")
    ran = bench("run", suite, "--plugin", toy, "--executor", "inline")
    pages = [bench.folder / "results" / name for name in ("index.html", "suite/index.html")]
    first = [path.read_bytes() for path in pages]
    for path in pages:
        path.unlink()

    drawn = bench("leaderboard", suite, "--plugin", toy, "--page")

    assert "suite/index.html" in ran.stdout
    assert drawn.returncode == 0, drawn.stderr
    assert [path.read_bytes() for path in pages] == first


def test_latex_of_another_metric_is_printed(bench, toy):
    suite = bench.suite("task: toy\nbudget: {steps: 3}\nseeds: 2\ndatasets: [numbers]\nmethods: [constant, noisy]\n")
    bench("run", suite, "--plugin", toy, "--executor", "inline")

    done = bench("leaderboard", suite, "--plugin", toy, "--format", "latex", "--metric", "squared")

    assert done.returncode == 0, done.stderr
    assert r"\begin{tabular}" in done.stdout
    assert "squared, lower is better: mean" in done.stdout
