"use strict";
// Everything from the suite is set with textContent: what a plugin or a file says stays text.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (name) => document.getElementById(name);
  const data = JSON.parse(byId("data").textContent);

  const make = (tag, text = "", attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // Metric
  const metric = byId("metric");
  const showMetric = () => {
    for (const board of all(".board")) board.hidden = board.dataset.metric !== metric.value;
  };
  metric.addEventListener("change", showMetric);

  // Sorting: what has no figure comes last, whichever way
  const sortBy = (header) => {
    const table = header.closest("table");
    const body = table.tBodies[0];
    const place = header.cellIndex;
    const opposite = { ascending: "descending", descending: "ascending" };
    const way = opposite[header.getAttribute("aria-sort")] || header.dataset.first;
    for (const other of all("thead th", table)) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", way);
    const sign = way === "ascending" ? 1 : -1;
    const words = header.classList.contains("name");
    const valueOf = (row) => row.cells[place].dataset.value;
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [valueOf(one), valueOf(other)];
      if (words) return sign * a.localeCompare(b);
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (Number(a) - Number(b));
    });
    body.append(...rows);
  };
  for (const button of all(".sortable thead button")) button.addEventListener("click", () => sortBy(button.closest("th")));

  // Filters
  const methodFilter = byId("filter-methods");
  const datasetFilter = byId("filter-datasets");
  const kept = (labels, filter) => labels.map((label) => label.toLowerCase().includes(filter.value.trim().toLowerCase()));
  const applyFilters = () => {
    const methods = kept(data.methods, methodFilter);
    const datasets = kept(data.datasets, datasetFilter);
    for (const element of all("[data-method]")) element.hidden = !methods[Number(element.dataset.method)];
    for (const element of all("[data-dataset]")) element.hidden = !datasets[Number(element.dataset.dataset)];
    for (const element of all("[data-dataset-label]")) element.hidden = !datasets[data.datasets.indexOf(element.dataset.datasetLabel)];
    const count = (flags) => flags.filter(Boolean).length;
    byId("shown").textContent = `${count(methods)} of ${methods.length} methods, ${count(datasets)} of ${datasets.length} data sets`;
  };
  for (const filter of [methodFilter, datasetFilter]) filter.addEventListener("input", applyFilters);

  // Methods that are lit up in the figures
  for (const button of all(".legend button")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const element of all(`figure .series-${button.dataset.series}`)) element.classList.toggle("lit", on);
      document.body.classList.toggle("highlighting", all('.legend [aria-pressed="true"]').length > 0);
    });
  }

  // Trials: built when they are opened
  const table = (headers, rows) => {
    const region = make("div", "", { class: "wide", role: "region", tabindex: "0", "aria-label": "Table" });
    const element = make("table");
    const head = make("tr");
    for (const text of headers) head.append(make("th", text, { scope: "col" }));
    element.append(make("thead"), make("tbody"));
    element.tHead.append(head);
    for (const cells of rows) {
      const row = make("tr");
      for (const cell of cells) {
        const field = make("td", cell instanceof Node ? "" : cell);
        if (cell instanceof Node) field.append(cell);
        row.append(field);
      }
      element.tBodies[0].append(row);
    }
    region.append(element);
    return region;
  };
  const spelled = (value) => (value === null || value === undefined ? "–" : String(value));
  const buildCell = (details, cell) => {
    for (const number of cell.asked || []) {
      const [kind, name, parameters] = data.parts[number];
      const settings = Object.entries(parameters).map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(", ");
      const line = make("p", `${kind} ${name}: `);
      line.append(make("code", settings || "no parameters"));
      details.append(line);
    }
    details.append(
      table(
        ["metric", "mean", "95 % interval", "difference", "its interval", "p", "rank"],
        cell.figures.map((figures, place) => [data.metrics[place], ...figures]),
      ),
    );
    const trials = cell.trials || [];
    details.append(
      table(
        ["seed", "trial", "status", ...data.metrics, "wall s"],
        trials.map(([seed, name, status, figures, seconds, , stale]) => [
          String(seed),
          make("code", `bench show ${name}`),
          stale ? `${status}, stale` : status,
          ...data.metrics.map((_, place) => spelled(figures[place])),
          spelled(seconds),
        ]),
      ),
    );
    for (const [seed, , status, , , error] of trials) {
      if (error === null || error === undefined) continue;
      const trace = make("details");
      trace.append(make("summary", `seed ${seed}: ${status}`), make("pre", data.errors[error], { tabindex: "0" }));
      details.append(trace);
    }
  };
  const once = (details, build) => {
    let built = false;
    const open = () => {
      if (!built) build();
      built = true;
    };
    details.addEventListener("toggle", () => details.open && open());
    return open;
  };
  const builders = new Map();
  for (const details of all("#trials > details")) {
    const method = Number(details.dataset.method);
    builders.set(
      details.id,
      once(details, () => {
        data.cells[method].forEach((cell, dataset) => {
          const inner = make("details", "", { id: `${details.id}-${dataset}` });
          const trials = cell.trials || [];
          const ok = trials.filter((trial) => trial[2] === "ok").length;
          const summary = make("summary", `${data.datasets[dataset]} `);
          summary.append(make("span", `${ok}/${trials.length} ok`, { class: ok < trials.length ? "lack" : "unit" }));
          inner.append(summary);
          builders.set(inner.id, once(inner, () => buildCell(inner, cell)));
          details.append(inner);
        });
      }),
    );
  }
  const openTarget = () => {
    const found = /^#(trials-\d+)(-\d+)?$/.exec(location.hash);
    if (!found || !byId(found[1])) return;
    for (const name of found[2] ? [found[1], found[1] + found[2]] : [found[1]]) {
      const details = byId(name);
      if (!details) return;
      builders.get(name)();
      details.open = true;
      details.scrollIntoView({ block: "start" });
      details.querySelector("summary").focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", openTarget);

  byId("leaderboard").querySelector(".controls").hidden = false;
  showMetric();
  applyFilters();
  openTarget();
})();
