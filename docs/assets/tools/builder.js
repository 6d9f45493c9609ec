// The launch builder's page: a form, its state in the address after the #, and what launch.js makes of it.
//
// Nothing leaves the page: the part after # is not sent to a server, and the one request is for this site's own data.

import { check, clusterYaml, filesOf, findChoice } from "./launch.js";

const DATA = new URL("../builder/launches.json", import.meta.url);

const START = "recipe release target";
const LABELS = {
  "nodes.*.address": "Address",
  "nodes.*.socket_interface": "Interface",
  "nodes.*.rdma_devices": "RDMA devices",
  "fabric.socket_interface": "Interface",
  "fabric.rdma_devices": "RDMA devices",
  "model_path": "Checkpoint's folder",
  "gpus_per_node": "GPUs in one node",
  "name": "Name",
  "rendezvous.port": "Rendezvous port",
  "serve.host": "Address to serve on",
  "serve.port": "Port to serve on",
};
const GROUPS = [
  ["Fabric of every node", ["fabric.socket_interface", "fabric.rdma_devices"]],
  ["Cluster", ["name", "model_path", "gpus_per_node"]],
  ["Ports", ["rendezvous.port", "serve.host", "serve.port"]],
];

// --- small pieces

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const idOf = (path) => `builder-${path.replaceAll(".", "-")}`;
const patternOf = (path) => path.replace(/^nodes\.\d+\./, "nodes.*.");

/** What it is that a path names, for people. */
function nameOf(path) {
  const node = /^nodes\.(\d+)\./.exec(path);
  const label = LABELS[patternOf(path)];
  return node ? `rank ${node[1]}: ${label}` : label;
}

function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function copy(text, from) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // A page that is not served over https has no clipboard of that kind.
  const range = document.createRange();
  range.selectNodeContents(from);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  const done = document.execCommand("copy");
  selection.removeAllRanges();
  if (!done) throw new Error("the browser does not let this page copy");
}

// --- values: the texts in the form, by path

/** The example cluster as the form shows it. */
function exampleValues(data) {
  const values = new Map();
  const walk = (value, path) => {
    if (Array.isArray(value) && typeof value[0] === "string") values.set(path, value.join(", "));
    else if (typeof value === "object") for (const [key, one] of Object.entries(value)) walk(one, path ? `${path}.${key}` : key);
    else values.set(path, String(value));
  };
  walk(data.example, "");
  for (const [path, { default: value }] of Object.entries(data.fields)) {
    if (value !== undefined && !values.has(path)) values.set(path, String(value));
  }
  return values;
}

/** The cluster that the texts in the form mean. A text that is no number stays a text, and is refused as one. */
function clusterOf(data, choice, values) {
  const cluster = { nodes: Array.from({ length: choice.nodes }, () => ({})) };
  for (const [pattern, field] of Object.entries(data.fields)) {
    for (let node = 0; node < (pattern.includes("*") ? choice.nodes : 1); node++) {
      const path = pattern.replace("*", node);
      const value = valueOf(values.get(path) ?? "", path, field);
      if (value === undefined || value === field.default) continue;
      const keys = path.split(".");
      const last = keys.pop();
      const owner = keys.reduce((inner, key) => (inner[key] ??= {}), cluster);
      owner[last] = value;
    }
  }
  return cluster;
}

function valueOf(text, path, field) {
  // A path may end in a space, if somebody means it.
  const value = path === "model_path" ? text : text.trim();
  if (value === "") return undefined;
  if (field.type === "array") return value.split(/[\s,]+/).filter(Boolean);
  if (field.type === "integer") return /^[0-9]+$/.test(value) ? Number(value) : value;
  return value;
}

// --- the page

class Builder {
  constructor(data, mount) {
    this.data = data;
    this.values = this.fromAddress();
    this.status = element("p", { className: "builder__status", role: "status" });
    this.note = element("div", { className: "builder__note" });
    this.output = element("div", { className: "builder__output" });
    this.form = element("form", { className: "builder__form", noValidate: true, autocomplete: "off" });
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", ({ target }) => this.changed(target));
    window.addEventListener("hashchange", () => {
      // A link to a heading is no state.
      if (!location.hash.includes("recipe=")) return;
      this.values = this.fromAddress();
      this.build();
    });
    mount.replaceChildren(this.form, this.status, this.note, this.output);
    this.build();
  }

  get choice() {
    return findChoice(this.data, this.values.get("recipe"), this.values.get("release"));
  }

  fromAddress() {
    const values = exampleValues(this.data);
    for (const [path, text] of new URLSearchParams(location.hash.slice(1))) {
      if (START.split(" ").includes(path) || Object.hasOwn(this.data.fields, patternOf(path))) values.set(path, text);
    }
    if (!this.data.choices.some((choice) => choice.recipe === values.get("recipe"))) values.set("recipe", this.data.recipe);
    values.set("release", findChoice(this.data, values.get("recipe"), values.get("release")).release);
    if (!Object.hasOwn(this.data.targets, values.get("target") ?? "")) values.set("target", Object.keys(this.data.targets)[0]);
    return values;
  }

  toAddress() {
    const said = new URLSearchParams();
    const order = [...START.split(" "), ...this.paths()];
    for (const path of order) if (this.values.get(path)) said.append(path, this.values.get(path));
    history.replaceState(history.state, "", `#${said}`);
  }

  /** The path of every value that the form asks for. */
  paths() {
    const nodes = Array.from({ length: this.choice.nodes }, (_, node) => node);
    const patterns = Object.keys(this.data.fields);
    const each = nodes.flatMap((node) => patterns.filter((path) => path.includes("*")).map((path) => path.replace("*", node)));
    return [...patterns.filter((path) => !path.includes("*")), ...each];
  }

  changed(input) {
    this.values.set(input.name, input.value);
    if (input.name === "recipe") {
      this.values.set("release", findChoice(this.data, input.value, null).release);
      this.build();
      this.form.elements.recipe.focus();
    }
    this.toAddress();
    this.show();
  }

  build() {
    const nodes = Array.from({ length: this.choice.nodes }, (_, node) => this.node(node));
    this.form.replaceChildren(
      this.start(),
      element("fieldset", { className: "builder__group" }, element("legend", {}, `The ${nodes.length} nodes, in rank order`), ...nodes),
      ...GROUPS.map(([title, paths]) => this.group(title, paths)),
      element(
        "p",
        { className: "builder__actions" },
        this.button("Back to the example", () => {
          history.replaceState(history.state, "", location.pathname + location.search);
          this.values = this.fromAddress();
          this.build();
          this.form.elements.recipe.focus();
        }),
      ),
    );
    this.show();
  }

  start() {
    const recipes = new Map(this.data.choices.map((choice) => [choice.recipe, `${choice.recipe}: ${choice.title}`]));
    const offered = this.data.choices.filter((choice) => choice.recipe === this.choice.recipe);
    const releases = new Map(offered.map(({ release, own }) => [release, own ? `${release} (the recipe's own)` : release]));
    const targets = new Map(Object.entries(this.data.targets).map(([name, what]) => [name, `${name}: ${what}`]));
    return element(
      "fieldset",
      { className: "builder__group builder__fields builder__start" },
      element("legend", {}, "What to start"),
      this.select("recipe", "Recipe", recipes),
      this.select("release", "SGLang release", releases),
      this.select("target", "Target", targets),
    );
  }

  select(name, label, options) {
    const chosen = this.values.get(name);
    const made = [...options].map(([value, text]) => element("option", { value, selected: value === chosen }, text));
    const id = idOf(name);
    return element(
      "div",
      { className: "builder__field" },
      element("label", { htmlFor: id }, label),
      element("select", { id, name, className: "builder__input" }, ...made),
    );
  }

  group(title, paths) {
    return element(
      "fieldset",
      { className: "builder__group builder__fields" },
      element("legend", {}, title),
      ...paths.map((path) => this.field(path)),
    );
  }

  node(node) {
    const [address, ...own] = ["address", "socket_interface", "rdma_devices"].map((key) => `nodes.${node}.${key}`);
    const hasOwn = own.some((path) => this.values.get(path));
    const which = node === 0 ? "Rank 0, the head" : `Rank ${node}`;
    return element(
      "div",
      { className: "builder__node", role: "group", "aria-label": which },
      this.field(address, `${which}: address`),
      element(
        "details",
        { open: hasOwn, className: "builder__own" },
        element("summary", {}, "An interface or devices of its own"),
        ...own.map((path) => this.field(path)),
      ),
    );
  }

  field(path, label = LABELS[patternOf(path)]) {
    const field = this.data.fields[patternOf(path)];
    const id = idOf(path);
    const isOwn = path.startsWith("nodes.") && !path.endsWith(".address");
    const hint = isOwn ? "Empty: as every node." : path.startsWith("nodes.") ? "" : field.description;
    const input = element("input", {
      id,
      name: path,
      className: "builder__input",
      value: this.values.get(path) ?? "",
      type: "text",
      inputMode: field.type === "integer" ? "numeric" : "text",
      autocapitalize: "off",
      spellcheck: false,
      "aria-describedby": `${id}-hint ${id}-error`,
    });
    return element(
      "div",
      { className: "builder__field" },
      element("label", { htmlFor: id }, label),
      input,
      element("span", { id: `${id}-hint`, className: "builder__hint" }, ...prose(hint)),
      element("span", { id: `${id}-error`, className: "builder__error" }),
    );
  }

  button(label, act, described = "") {
    const made = element("button", { type: "button", className: "md-button builder__button" }, label);
    if (described) made.setAttribute("aria-label", `${label} ${described}`);
    made.addEventListener("click", act);
    return made;
  }

  show() {
    const cluster = clusterOf(this.data, this.choice, this.values);
    const found = check(this.data, this.choice, complete(cluster));
    this.showErrors(found);
    this.showNote();
    this.output.hidden = found.length > 0;
    if (found.length === 0) this.showFiles(cluster);
  }

  showErrors(found) {
    const help = new Map(found.map((one) => [one.path, one.help]));
    for (const input of this.form.querySelectorAll("input")) {
      const text = help.get(input.name);
      input.setAttribute("aria-invalid", String(text !== undefined));
      document.getElementById(`${input.id}-error`).replaceChildren(...prose(text ?? ""));
      if (text !== undefined) input.closest("details")?.setAttribute("open", "");
    }
    const wrong = found.map(({ path }) => nameOf(path)).join(", ");
    const last = this.choice.nodes - 1;
    const order = last > 0 ? ` Start ${last > 1 ? `ranks 1 to ${last}` : "rank 1"} first, then rank 0.` : "";
    const said = found.length > 0 ? `Correct this, and the commands appear: ${wrong}.` : `The commands of every rank stand below.${order}`;
    if (this.status.textContent !== said) this.status.textContent = said;
    this.status.classList.toggle("builder__status--wrong", found.length > 0);
  }

  showNote() {
    const { own, recipe, release, image, warnings } = this.choice;
    const parts = [];
    if (!own) {
      const moved =
        `The recipe's file names another release. For SGLang ${release} it is changed as ` +
        `\`python scripts/compare_releases.py ${recipe} --to ${release}\` changes it, and checked against that release's ` +
        "sources. Its evidence does not carry over. The image's tag is inferred from the recipe's: look it up with " +
        `\`docker manifest inspect ${image}\`.`;
      parts.push(element("p", {}, ...prose(moved)));
    }
    if (warnings.length > 0) {
      const rows = warnings.map((text) => element("li", {}, ...prose(text)));
      const title = warnings.length === 1 ? "One warning" : `${warnings.length} warnings`;
      parts.push(
        element("details", { className: "warning" }, element("summary", {}, `${title} for ${recipe} on SGLang ${release}`), element("ul", {}, ...rows)),
      );
    }
    this.note.replaceChildren(...parts);
  }

  showFiles(cluster) {
    const files = filesOf(this.data, this.choice, this.values.get("target"), cluster);
    const where = (name) => {
      const rank = /^rank(\d+)\.sh$/.exec(name)?.[1];
      if (rank !== undefined) return `Rank ${rank}, on ${cluster.nodes[rank].address}`;
      return name === "start-order.txt" ? "The order of the start" : "Once on every node, before the first start";
    };
    const shown = Object.entries(files).map(([name, text]) => this.file(where(name), name, text));
    shown.push(this.file("The cluster file", `${cluster.name}.yaml`, clusterYaml(this.data, cluster)));
    this.output.replaceChildren(...shown, this.others(cluster));
  }

  /** What the page does not write: the commands that do, for this very recipe and cluster. */
  others(cluster) {
    const { own, recipe, release } = this.choice;
    const first = own ? recipe : "./next-recipe.yaml";
    const commands = own ? [] : [`python scripts/compare_releases.py ${recipe} --to ${release} --write next-recipe.yaml`];
    for (const target of Object.keys(this.data.others)) {
      commands.push(`python scripts/gen_launch.py ${first} --cluster ${cluster.name}.yaml --target ${target} --out ${target}`);
    }
    const rows = Object.entries(this.data.others).map(([name, what]) => element("li", {}, element("code", {}, name), `: ${what}`));
    const made = this.file("Other targets, in a checkout, beside the cluster file", "commands", commands.join("\n"), false);
    made.querySelector("pre").before(element("ul", {}, ...rows));
    return made;
  }

  file(title, name, text, isFile = true) {
    const code = element("code", {}, text);
    const copied = this.button("Copy", async () => {
      try {
        await copy(text, code);
        this.status.textContent = `${name} is copied.`;
        copied.textContent = "Copied";
      } catch (problem) {
        this.status.textContent = `${name} is not copied: ${problem.message}. Select the text instead.`;
        copied.textContent = "Not copied";
      }
      setTimeout(() => (copied.textContent = "Copy"), 2000);
    }, name);
    return element(
      "section",
      { className: "builder__file", "aria-label": name },
      element(
        "div",
        { className: "builder__head" },
        element("p", { className: "builder__title" }, `${title}: `, element("code", {}, name)),
        element("p", { className: "builder__actions" }, copied, ...(isFile ? [this.button("Download", () => download(name, text), name)] : [])),
      ),
      element("pre", { tabIndex: 0, role: "region", "aria-label": `Text of ${name}` }, code),
    );
  }
}

/** The cluster with the objects that it lacks, so that what is missing in them is found missing. */
function complete(cluster) {
  return { rendezvous: {}, serve: {}, fabric: {}, ...cluster };
}

/** Text in which what stands between backquotes is code. */
function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

const mount = document.getElementById("builder-page");
if (mount) {
  try {
    const answer = await fetch(DATA);
    if (!answer.ok) throw new Error(`${DATA.pathname}: ${answer.status}`);
    new Builder(await answer.json(), mount);
  } catch (problem) {
    const text = `The form cannot be shown (${problem.message}). The example's commands stand below.`;
    mount.replaceChildren(element("p", { role: "alert" }, text));
  }
}
