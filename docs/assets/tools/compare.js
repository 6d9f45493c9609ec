// Shows what changes between two SGLang releases. Python has compared every pair (scripts/compare_releases.py does the
// same for one); this only looks up what it said, so the two cannot differ in what they find.
//
// The first half knows no page: it turns the data back into what the command prints.

import { SITE, make } from "./dom.js";

/** Which row of a list of pairs belongs to two releases: pairs stand older one first, in the order of the releases. */
function placeOf(data, old, now) {
  const [first, second] = [data.versions.indexOf(old), data.versions.indexOf(now)];
  if (first < 0 || second <= first) throw new RangeError(`${now} is not later than ${old}`);
  return first * data.versions.length - (first * (first + 1)) / 2 + (second - first - 1);
}

/** The changes for a recipe (an empty name: for any launch) from one release to a later one. */
export function changesOf(data, recipe, old, now) {
  return data.pairs[recipe][placeOf(data, old, now)].map((row) => {
    const [kind, name, before, after, todo, source, page] = data.changes[row].map((place) => data.strings[place]);
    return { kind, name, before, after, do: todo, source, page };
  });
}

/** The recipe as it should read for the later release; an empty text without a recipe. */
export function recipeText(data, recipe, old, now) {
  const moved = data.moved[recipe];
  return moved ? moved.texts[moved.of[placeOf(data, old, now)]].map((line) => data.strings[line]).join("\n") : "";
}

/** What `compare_releases.py --json` prints. */
export function asJson(data, recipe, old, now) {
  const changes = changesOf(data, recipe, old, now).map(({ page, ...change }) => change);
  const text = recipeText(data, recipe, old, now);
  return `${JSON.stringify({ from: old, to: now, changes, recipe: text || null }, null, 2)}\n`;
}

/** What is said below a change's name, a line each. */
function details({ before, after, do: todo, source }) {
  const states = before && after ? `${before} -> ${after}` : before || after;
  return [states, todo, source].filter((text) => text);
}

/** What `compare_releases.py` prints, with lines as long as they are. */
export function asText(data, recipe, old, now) {
  const changes = changesOf(data, recipe, old, now);
  const lines = [`SGLang ${old} to ${now}: ${changes.length} changes`];
  for (const [kind, title] of Object.entries(data.titles)) {
    const rows = changes.filter((change) => change.kind === kind);
    if (rows.length) lines.push("", title);
    for (const change of rows) lines.push(`  ${change.name}`, ...details(change).map((line) => `    ${line}`));
  }
  const text = recipeText(data, recipe, old, now);
  return `${lines.join("\n")}\n${text ? `\nThe recipe for ${now}\n\n${text}` : ""}`;
}

/** The state that a query asks for, made whole: an unknown name gives way to the default, and the older comes first. */
export function stateOf(data, query) {
  const asked = new URLSearchParams(query);
  const last = data.versions.length - 1;
  const recipe = asked.has("recipe") ? asked.get("recipe") : data.default;
  const known = data.recipes.find((one) => one.name === recipe);
  const own = known ? data.versions.indexOf(known.sglang) : 0;
  const place = (name, otherwise) => {
    const found = data.versions.indexOf(asked.get(name));
    return found < 0 ? otherwise : found;
  };
  let [first, second] = [place("from", own), place("to", last)].sort((one, other) => one - other);
  if (first === second) [first, second] = first === last ? [0, last] : [first, last];
  return { recipe: known ? recipe : "", from: data.versions[first], to: data.versions[second] };
}

// --- the page

function linked(path, ...children) {
  return path ? make("a", { href: new URL(path, SITE).href }, ...children) : make("span", {}, ...children);
}

function sourceOf(text) {
  return text.startsWith("https://") ? make("a", { href: text }, text) : make("code", {}, text);
}

function pinsTable(rows, old, now) {
  const head = make("tr", {}, ...["Library", old, now].map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map(({ name, before, after, page }) =>
    make("tr", {}, ...[linked(page, make("code", {}, name)), before, after].map((cell) => make("td", {}, cell))),
  );
  return make(
    "div",
    { class: "tool-scroll", tabindex: "0", role: "region", "aria-label": "Libraries that change" },
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)),
  );
}

function changeItem({ name, before, after, do: todo, source, page }) {
  const item = make("li", {}, linked(page, make("code", {}, name)));
  if (before && after) {
    item.append(make("p", {}, `${before} → ${after}`));
  } else if (before || after) {
    item.append(make("p", {}, before || after));
  }
  if (todo) item.append(make("p", {}, make("strong", {}, todo)));
  if (source) item.append(make("p", { class: "tool-place" }, sourceOf(source)));
  return item;
}

function copyButton(label, text) {
  const button = make("button", { type: "button", class: "md-button" }, label);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

function recipePart(text, name, now) {
  const file = make(
    "a",
    { class: "md-button", download: `${name}.yaml`, href: `data:text/yaml;charset=utf-8,${encodeURIComponent(text)}` },
    "Download",
  );
  return make(
    "details",
    {},
    make("summary", {}, `The recipe as it should read for ${now}`),
    make("p", { class: "tool-buttons" }, copyButton("Copy", text), " ", file),
    make("pre", { tabindex: "0" }, make("code", {}, text)),
  );
}

class Page {
  constructor(root, data) {
    this.data = data;
    this.recipe = make(
      "select",
      { id: "compare-recipe" },
      make("option", { value: "" }, "any MiMo-V2.5 launch"),
      ...data.recipes.map((one) => make("option", { value: one.name }, `${one.name} (SGLang ${one.sglang})`)),
    );
    this.from = this.#releases("compare-from", data.versions.slice(0, -1));
    this.to = this.#releases("compare-to", data.versions.slice(1));
    this.status = make("p", { class: "tool-status", role: "status" });
    this.results = make("div");
    const field = (label, select) => make("p", {}, make("label", { for: select.id }, label), select);
    root.replaceChildren(
      make("div", { class: "tool-fields" }, field("For", this.recipe), field("From", this.from), field("To", this.to)),
      this.status,
      this.results,
    );
    this.recipe.addEventListener("change", () => {
      // A recipe is compared from its own release on, unless one asks for another.
      const query = new URLSearchParams({ recipe: this.recipe.value, to: this.to.value });
      this.#show(stateOf(data, query), true);
    });
    for (const select of [this.from, this.to]) {
      select.addEventListener("change", () => this.#show(stateOf(data, this.#query()), true));
    }
    window.addEventListener("popstate", () => this.#show(stateOf(data, location.search), false));
    this.#show(stateOf(data, location.search), false);
  }

  #releases(id, versions) {
    return make("select", { id }, ...versions.map((version) => make("option", { value: version }, version)));
  }

  #query() {
    return new URLSearchParams({ recipe: this.recipe.value, from: this.from.value, to: this.to.value });
  }

  #show({ recipe, from, to }, remember) {
    const { data } = this;
    [this.recipe.value, this.from.value, this.to.value] = [recipe, from, to];
    const start = data.versions.indexOf(from);
    for (const option of this.to.options) option.disabled = data.versions.indexOf(option.value) <= start;
    if (remember) history.replaceState(null, "", `?${this.#query()}${location.hash}`);

    const changes = changesOf(data, recipe, from, to);
    const parts = [];
    for (const [kind, title] of Object.entries(data.titles)) {
      const rows = changes.filter((change) => change.kind === kind);
      if (!rows.length) continue;
      parts.push(make("h2", {}, title));
      parts.push(kind === "pin" ? pinsTable(rows, from, to) : make("ul", { class: "tool-changes" }, ...rows.map(changeItem)));
    }
    const text = recipeText(data, recipe, from, to);
    if (text) parts.push(recipePart(text, recipe, to));
    const cluster = data.recipes.find((one) => one.name === recipe)?.cluster;
    const command = ["python scripts/compare_releases.py", recipe, `--from ${from} --to ${to}`, cluster && `--cluster ${cluster}`].filter((part) => part);
    parts.push(
      make("p", {}, "The same from a checkout: ", make("code", {}, command.join(" "))),
      make("p", { class: "tool-buttons" }, copyButton("Copy all as text", asText(data, recipe, from, to))),
    );
    const number = `${changes.length} change${changes.length === 1 ? "" : "s"}`;
    this.status.textContent = `SGLang ${from} to ${to}: ${changes.length ? number : "nothing changes"}${recipe && ` for ${recipe}`}.`;
    this.results.replaceChildren(...parts);
  }
}

async function start(root) {
  try {
    const answer = await fetch(new URL("assets/data/compare.json", SITE));
    if (!answer.ok) throw new Error(`the list of changes does not load (${answer.status})`);
    new Page(root, await answer.json());
  } catch (problem) {
    root.prepend(make("p", { role: "alert" }, `This tool does not start: ${problem.message}`));
  }
}

const root = document.getElementById("compare-tool");
if (root) start(root);
