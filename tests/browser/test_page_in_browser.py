"""The page in a browser: Debian's Chromium, without a head, driven by selenium."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time

import page_samples as samples
import pytest

from harness.report.files import to_json
from harness.report.index import write_index
from harness.report.page import to_page

selenium = pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402  only where there is a selenium
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and not os.environ.get("CI"), reason="there is no chromium: apt-get install chromium chromium-driver"
    ),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER or "chromedriver"))
    driver.implicitly_wait(5)  # what a summary opens comes after its event
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(to_page(samples.make_evidence()), encoding="utf-8")

    return path.as_uri()


@pytest.fixture
def page(browser, address):
    """Open the page anew, with empty logs."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(address)

    return browser


def set_width(browser, width: int) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})


def shown_board(page):
    return next(board for board in page.find_elements(By.CSS_SELECTOR, ".board") if board.is_displayed())


def methods_shown(page) -> list[str]:
    names = shown_board(page).find_elements(By.CSS_SELECTOR, "tbody th a")

    return [name.text for name in names if name.is_displayed()]


def all_names(page) -> list[str]:
    return [name.get_attribute("textContent") for name in shown_board(page).find_elements(By.CSS_SELECTOR, "tbody th a")]


def header(page, text: str):
    headers = shown_board(page).find_elements(By.CSS_SELECTOR, "thead th")

    return next(item for item in headers if text in item.text)


def figures_of(page, text: str) -> list[float]:
    board = shown_board(page)
    place = board.find_elements(By.CSS_SELECTOR, "thead th").index(header(page, text))

    return [
        float(row.find_elements(By.CSS_SELECTOR, "th, td")[place].get_attribute("data-value"))
        for row in board.find_elements(By.CSS_SELECTOR, "tbody tr")
    ]


def test_a_column_is_sorted_best_first_and_then_the_other_way(page):
    button = header(page, "hard").find_element(By.TAG_NAME, "button")

    button.click()
    first, said = figures_of(page, "hard"), header(page, "hard").get_attribute("aria-sort")
    button.click()

    assert (said, header(page, "hard").get_attribute("aria-sort")) == ("descending", "ascending")
    assert first == sorted(first, reverse=True)
    assert figures_of(page, "hard") == first[::-1]


def test_a_column_is_sorted_with_the_keyboard(page):
    header(page, "method").find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)

    assert methods_shown(page) == sorted(methods_shown(page), key=lambda name: (name[0].isalpha(), name))


def test_the_filter_keeps_the_methods_that_match(page):
    page.find_element(By.ID, "filter-methods").send_keys("BETT")

    assert methods_shown(page) == ["better"]
    assert page.find_element(By.ID, "shown").text == "1 of 3 methods, 3 of 3 data sets"


def test_the_filter_takes_several_words_and_a_space_for_an_underscore(page):
    page.find_element(By.ID, "filter-methods").send_keys("bett, base")

    assert sorted(methods_shown(page)) == ["base", "better"]


def test_ranks_are_those_among_what_is_shown(page):
    lacks = shown_board(page).find_elements(By.CSS_SELECTOR, "td.rank")[-1].text  # it is not complete on one of the data sets

    page.find_element(By.ID, "filter-datasets").send_keys("easy")

    figures, ranks = figures_of(page, "easy"), figures_of(page, "mean rank")
    assert lacks == "–"
    assert ranks == [1.0, 2.0, 3.0]
    assert figures == sorted(figures, reverse=True)


def test_the_address_holds_the_view(browser, page):
    Select(page.find_element(By.ID, "metric")).select_by_visible_text("nll")
    page.find_element(By.ID, "filter-methods").send_keys("bett base")
    header(page, "hard").find_element(By.TAG_NAME, "button").click()
    shown, address = methods_shown(page), browser.current_url

    browser.get("about:blank")
    browser.get(address)

    assert "metric=nll" in address
    assert methods_shown(browser) == shown
    assert shown_board(browser).find_element(By.TAG_NAME, "h3").text.startswith("nll")
    assert header(browser, "hard").get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_is_shown_is_downloaded(browser, page, kind, tmp_path):
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.find_element(By.ID, "filter-methods").send_keys("better")
    page.find_element(By.ID, "filter-datasets").send_keys("hard")

    page.find_element(By.ID, f"download-{kind}").click()

    deadline = time.monotonic() + 10
    while not (tmp_path / f"sample.{kind}").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    text = (tmp_path / f"sample.{kind}").read_text(encoding="utf-8")
    (row,) = csv.DictReader(io.StringIO(text)) if kind == "csv" else json.loads(text)["rows"]
    assert row["method"] == "better"
    assert float(row["hard"]) == figures_of(page, "hard")[all_names(page).index("better")]
    assert "easy" not in row


def test_a_row_is_one_tab_stop_and_the_arrows_lead_to_its_figures(page):
    first = shown_board(page).find_element(By.CSS_SELECTOR, "tbody th a")
    links = shown_board(page).find_elements(By.CSS_SELECTOR, "tbody a")

    first.send_keys(Keys.ARROW_RIGHT)
    figure = page.switch_to.active_element
    figure.send_keys(Keys.ARROW_DOWN)
    below = page.switch_to.active_element

    assert sum(link.get_attribute("tabindex") != "-1" for link in links) == len(samples.METHODS)
    assert figure.get_attribute("href").endswith("-0")
    assert below != figure
    assert below.location["x"] == figure.location["x"]


def test_a_name_says_what_the_method_is(page):
    link = shown_board(page).find_element(By.CSS_SELECTOR, "tbody th a")

    link.click()

    assert page.current_url.endswith(link.get_attribute("href").rpartition("/")[2])
    assert page.find_element(By.CSS_SELECTOR, ".methods div:target").is_displayed()


def test_the_index_finds_a_suite_by_the_names_in_it(browser, tmp_path):
    for name in ("one", "two"):
        evidence = samples.make_evidence(samples.make_plan(methods=("base", f"method_{name}")))
        (tmp_path / name).mkdir()
        (tmp_path / name / "leaderboard.json").write_text(to_json(evidence.board), encoding="utf-8")
    write_index(tmp_path)
    browser.get((tmp_path / "index.html").as_uri())

    browser.find_element(By.ID, "search").send_keys("toy method two")

    assert [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".suite h3") if item.is_displayed()] == ["two"]
    assert browser.find_element(By.ID, "shown").text == "1 of 2 suites"
    assert browser.current_url.endswith("#search=toy%20method%20two")


def test_the_filter_of_data_sets_hides_columns_and_curves(page):
    page.find_element(By.ID, "filter-datasets").send_keys("odd")

    assert [item.text for item in shown_board(page).find_elements(By.CSS_SELECTOR, "thead th[data-dataset]") if item.is_displayed()] == [
        "odd"
    ]
    assert [item.text for item in page.find_elements(By.CSS_SELECTOR, ".curves h3") if item.is_displayed()] == ["odd"]


def test_another_metric_shows_its_own_table(page):
    before = figures_of(page, "easy")

    Select(page.find_element(By.ID, "metric")).select_by_visible_text("nll")

    assert [round(figure, 6) for figure in sorted(figures_of(page, "easy"))] == [
        round(1 - figure, 6) for figure in sorted(before, reverse=True)
    ]


def test_a_figure_leads_to_its_trials(page):
    shown_board(page).find_element(By.CSS_SELECTOR, 'a[href="#trials-1-0"]').click()

    cell = page.find_element(By.ID, "trials-1-0")
    assert cell.get_attribute("open")
    assert cell.text.count("bench show") == len(samples.SEEDS)
    assert "comment" in cell.text


def test_a_traceback_is_opened_with_the_keyboard_and_stays_text(page):
    page.find_element(By.CSS_SELECTOR, "#trials-2 > summary").send_keys(Keys.ENTER)
    page.find_element(By.CSS_SELECTOR, "#trials-2-2 > summary").send_keys(Keys.ENTER)
    page.find_element(By.CSS_SELECTOR, "#trials-2-2 details > summary").send_keys(Keys.ENTER)

    assert (
        page.find_element(By.CSS_SELECTOR, "#trials-2-2 pre").text == f"Traceback (most recent call last):\nValueError: {samples.HOSTILE}"
    )


def open_everything(page) -> None:
    for _ in range(3):
        page.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
        page.execute_async_script("setTimeout(arguments[0], 50)")  # the event comes after the script


def test_nothing_hostile_is_an_element_or_runs(page):
    open_everything(page)

    assert page.execute_script("return [window.hacked === undefined, document.images.length, document.scripts.length]") == [True, 0, 2]
    assert samples.HOSTILE in page.find_element(By.CSS_SELECTOR, "#trials-2 > summary").text
    assert samples.HOSTILE in page.find_element(By.TAG_NAME, "pre").text


def test_the_console_stays_empty(page):
    open_everything(page)
    Select(page.find_element(By.ID, "metric")).select_by_visible_text("nll")
    page.find_element(By.CSS_SELECTOR, ".legend button").click()

    assert page.get_log("browser") == []


def test_the_page_asks_for_nothing(page, address):
    open_everything(page)

    asked = [entry["message"] for entry in page.get_log("performance") if 'Network.requestWillBeSent"' in entry["message"]]
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert [message for message in asked if address not in message and '"url":"data:' not in message] == []
    assert asked


def test_a_method_lights_up_in_the_figures(page):
    button = page.find_element(By.CSS_SELECTOR, '.legend [data-series="1"]')

    button.click()

    opacity = "return getComputedStyle(document.querySelector('#curves figure .series-{}.line')).opacity"
    assert button.get_attribute("aria-pressed") == "true"
    assert float(page.execute_script(opacity.format(1))) == 1
    assert float(page.execute_script(opacity.format(2))) < 0.5


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_its_window(browser, address, width):
    set_width(browser, width)
    browser.get(address)
    open_everything(browser)

    inner, visible, needed = browser.execute_script(
        "const page = document.documentElement; return [innerWidth, page.clientWidth, page.scrollWidth]"
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert inner == width
    assert needed == visible


def test_dark_is_dark_and_has_contrast(browser, address):
    colours = {}
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        browser.get(address)
        colours[scheme] = browser.execute_script(
            "const style = getComputedStyle(document.body); const axis = document.querySelector('figure text');"
            "return [style.backgroundColor, style.color, getComputedStyle(axis).fill].map((text) => text.match(/\\d+/g).slice(0, 3).map(Number))"
        )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    brightness = {scheme: [sum(colour) / 3 for colour in found] for scheme, found in colours.items()}
    assert brightness["light"][0] > 200 > 100 > brightness["light"][1]
    assert brightness["dark"][0] < 60 < 180 < brightness["dark"][1]
    assert all(found[1] == found[2] for found in colours.values())


def test_the_printed_page_has_no_controls(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})

    shown = page.find_element(By.ID, "metric").is_displayed()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    assert not shown


def test_the_focus_is_visible(page):
    element = page.find_element(By.TAG_NAME, "body")
    element.send_keys(Keys.TAB, Keys.TAB)

    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
