"use strict";
// The search of the page that joins all suites: a suite is kept if every word is in what is known of it.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const search = document.getElementById("search");
  if (!search) return;
  const plain = (text) => text.toLowerCase().replaceAll("_", " ");
  const apply = () => {
    const words = plain(search.value).split(/\s+/).filter(Boolean);
    const suites = all(".suite");
    for (const suite of suites) suite.hidden = !words.every((word) => plain(suite.dataset.words).includes(word));
    for (const task of all(".task")) task.hidden = all(".suite", task).every((suite) => suite.hidden);
    document.getElementById("shown").textContent = `${suites.filter((suite) => !suite.hidden).length} of ${suites.length} suites`;
  };
  search.addEventListener("input", () => {
    apply();
    history.replaceState(null, "", search.value.trim() ? `#search=${encodeURIComponent(search.value.trim())}` : location.pathname);
  });
  const found = /^#search=(.*)$/.exec(location.hash);
  if (found) search.value = decodeURIComponent(found[1]);
  document.querySelector(".controls").hidden = false;
  apply();
})();
