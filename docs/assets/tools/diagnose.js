// Finds the known symptoms in logs, in the browser: what scripts/diagnose.py does, line for line. The tests run both on
// the same logs. Text of a log is a "binary string" here, one character a byte, so that places are those of the bytes.
//
// The first half knows no page: Scanner and Feeder find lines, RankLog remembers them, find() says what they prove.

import { SITE, make } from "./dom.js";

const EXCERPT = 240;
const LONGEST_SHAPE = 2048;
const MOST_SHAPES = 20000;
const LONGEST_SHOWN = 800;
const COLOUR = /\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)/g;
// Python's white space, which is not JavaScript's.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const ENDS = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "gu");
const SECRET = new RegExp(
  `((?:api_?key|token|password|secret)['"]?[=:] ?['"]?)(?!None(?![\\p{L}\\p{N}_]))[^${SPACE}'",)]+` +
    "|(?<![\\p{L}\\p{N}_])hf_[A-Za-z0-9]{16,}",
  "giu",
);

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes as a string with one character a byte. */
export function binary(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + 0x8000));
  }
  return text;
}

function decoded(text) {
  return /[\x80-\xff]/.test(text) ? utf8.decode(Uint8Array.from(text, (byte) => byte.charCodeAt(0))) : text;
}

/** Finds named patterns in blocks of whole lines. One serves any number of logs. */
export class Scanner {
  #data;
  #patterns = new Map();
  #anchors = new Map();
  #shapes = new Map();

  constructor(data) {
    this.#data = data;
    for (const [name, texts] of Object.entries(data.texts)) {
      for (const text of texts) {
        const anchor = text.replace(/[0-9]+/g, "");
        this.#anchors.set(anchor, [...(this.#anchors.get(anchor) ?? []), name]);
      }
    }
  }

  /** Take whole lines into a log; the last may lack its end. */
  scan(block, log) {
    const last = lastPiece(block);
    const shapes = block.replace(/[0-9]+/g, "").split("\n");
    const lastLine = shapes.length - 1 - last.endsBehind;
    const lastHits = [];
    let lines = null;
    for (let index = 0; index < shapes.length; index += 1) {
      const names = this.#namesOf(shapes[index]);
      if (!names.length) continue;
      lines ??= block.split("\n");
      for (const [start, name, text, match] of this.#matches(lines[index], names)) {
        const inLast = index === lastLine && start >= last.start;
        if (!inLast && !log.wants(name)) {
          log.count(name);
          continue;
        }
        const hit = makeHit(name, log.lines + 1 + index, start, text, match);
        log.add(hit);
        if (inLast) lastHits.push(hit);
      }
    }
    if (last.text) {
      log.lastHits = lastHits;
      log.lastLine = [log.lines + 1 + lastLine, decoded(last.text.slice(-EXCERPT))];
    }
    log.lines += shapes.length - 1;
  }

  /** Take a part of an endless line into a log; the next part repeats its last `window` bytes. */
  scanPart(part, log, place) {
    for (const [start, name, text, match] of this.#matches(part, Object.keys(this.#data.lines))) {
      log.add(makeHit(name, log.lines + 1, place + start, text, match));
    }
  }

  /** The names that lines of this shape, a line without its digits, may match. */
  #namesOf(shape) {
    let names = this.#shapes.get(shape);
    if (names) return names;
    const found = new Set();
    for (const [anchor, owners] of this.#anchors) {
      if (shape.includes(anchor)) owners.forEach((name) => found.add(name));
    }
    names = [...found];
    if (this.#shapes.size > MOST_SHAPES) this.#shapes.clear();
    // A copy: what split() returns keeps its whole block in memory.
    if (shape.length <= LONGEST_SHAPE) this.#shapes.set(JSON.parse(JSON.stringify(shape)), names);
    return names;
  }

  *#matches(line, names) {
    let start = 0;
    for (const piece of line.split("\r")) {
      if (piece.length > this.#data.limits.window) {
        yield* this.#matchesInLong(piece, start, names);
      } else if (piece) {
        const text = decoded(piece);
        for (const name of names) {
          const match = this.#pattern(name).exec(text);
          if (match) yield [start, name, text, match];
        }
      }
      start += piece.length + 1;
    }
  }

  *#matchesInLong(piece, start, names) {
    const half = this.#data.limits.window / 2;
    for (const name of names) {
      for (const text of this.#data.texts[name]) {
        for (let at = piece.indexOf(text); at >= 0; at = piece.indexOf(text, at + half)) {
          const left = Math.max(0, at - half);
          const seen = decoded(piece.slice(left, at + half));
          const match = this.#pattern(name).exec(seen);
          if (match) yield [start + left, name, seen, match];
        }
      }
    }
  }

  #pattern(name) {
    let pattern = this.#patterns.get(name);
    if (!pattern) {
      pattern = new RegExp(this.#data.lines[name], this.#data.flags);
      this.#patterns.set(name, pattern);
    }
    return pattern;
  }
}

/** Cuts what arrives, which ends anywhere, into blocks that end a line, and has them scanned. */
export class Feeder {
  #scanner;
  #log;
  #limits;
  #carry = "";
  #place = 0;

  constructor(scanner, log, limits) {
    this.#scanner = scanner;
    this.#log = log;
    this.#limits = limits;
  }

  take(block) {
    let data = this.#carry + block;
    if (data.includes("\x1b")) data = data.replace(COLOUR, "");
    const end = data.lastIndexOf("\n") + 1;
    if (end) {
      this.#scanner.scan(data.slice(0, end), this.#log);
      this.#carry = data.slice(end);
      this.#place = 0;
    } else if (data.length > this.#limits.carry) {
      this.#scanner.scanPart(data, this.#log, this.#place);
      this.#carry = data.slice(-this.#limits.window);
      this.#place += data.length - this.#limits.window;
    } else {
      this.#carry = data;
    }
  }

  end() {
    if (this.#carry) this.#scanner.scan(this.#carry, this.#log);
    this.#carry = "";
  }
}

/** What the log of one rank has shown so far. */
export class RankLog {
  lines = 0;
  lastHits = [];
  lastLine = [0, ""];
  seen = new Map();
  #progress = new Map();
  #ordersOf = new Map();

  constructor(rank, file, orders) {
    this.rank = rank;
    this.file = file;
    for (const steps of orders) {
      const progress = { steps, done: [] };
      this.#progress.set(JSON.stringify(steps), progress);
      for (const name of new Set(steps.flat())) {
        this.#ordersOf.set(name, [...(this.#ordersOf.get(name) ?? []), progress]);
      }
    }
  }

  /** Whether one more match of this name can prove anything; if not, counting it is enough. */
  wants(name) {
    if (!this.seen.has(name)) return true;
    return (this.#ordersOf.get(name) ?? []).some(({ steps, done }) => done.length < steps.length);
  }

  count(name) {
    this.seen.get(name).count += 1;
  }

  add(hit) {
    if (this.seen.has(hit.name)) this.count(hit.name);
    else this.seen.set(hit.name, { first: hit, count: 1 });
    for (const { steps, done } of this.#ordersOf.get(hit.name) ?? []) {
      if (done.length === steps.length || !steps[done.length].includes(hit.name)) continue;
      if (!done.length || byPlace(hit, done.at(-1)) > 0) done.push(hit);
    }
  }

  /** The lines that prove an expression, first to last, now that the log has ended; null if it does not hold. */
  proof(expression) {
    if (typeof expression === "string") return this.seen.has(expression) ? [this.seen.get(expression).first] : null;
    const [[word, part]] = Object.entries(expression);
    if (word === "absent") return this.proof(part) ? null : [];
    if (word === "order") {
      const { steps, done } = this.#progress.get(JSON.stringify(part));
      return done.length === steps.length ? [...done] : null;
    }
    if (word === "last") {
      const hits = this.lastHits.filter((hit) => part.includes(hit.name));
      return hits.length ? hits : null;
    }
    const proofs = part.map((one) => this.proof(one));
    const held = proofs.filter((proof) => proof);
    if (word === "all" ? held.length < proofs.length : !held.length) return null;
    return inOrder(held.flat());
  }
}

/** Every `order` of every symptom, each once: a log follows them while it is read. */
export function ordersOf(data) {
  const found = new Map();
  const look = (expression) => {
    if (!expression || typeof expression === "string") return;
    const [[word, part]] = Object.entries(expression);
    if (word === "order") found.set(JSON.stringify(part), part);
    else if (word === "absent") look(part);
    else if (word === "all" || word === "any") part.forEach(look);
  };
  for (const symptom of data.symptoms) [symptom.match, symptom.others].forEach(look);
  return [...found.values()];
}

/** The symptoms that complete logs prove, most causal first. */
export function find(data, logs) {
  const proofs = new Map();
  for (const symptom of data.symptoms) {
    const proof = proofsOf(symptom, logs);
    if (proof.length) proofs.set(symptom.id, { symptom, proof });
  }
  const reach = new Map();
  for (const { symptom } of [...proofs.values()].reverse()) {
    const near = symptom.causes.filter((name) => reach.has(name));
    reach.set(symptom.id, new Set(near.flatMap((name) => [name, ...reach.get(name)])));
  }
  const names = [...proofs.keys()];
  return causalOrder(
    [...proofs.values()].map(({ symptom, proof }) => ({
      symptom,
      proof,
      followsFrom: names.filter((other) => reach.get(other).has(symptom.id)).reverse(),
      leadsTo: names.filter((other) => reach.get(symptom.id).has(other)),
    })),
  );
}

function causalOrder(found) {
  const left = [...found];
  const done = new Set();
  const ordered = [];
  const weight = (one) => (one.followsFrom.length ? 2 : 0) + (one.symptom.severity === "error" ? 0 : 1);
  while (left.length) {
    const free = left.filter((one) => one.followsFrom.every((name) => done.has(name)));
    const ready = free.length ? free : left.slice(0, 1);
    const next = ready.reduce((best, one) => (weight(one) < weight(best) ? one : best));
    left.splice(left.indexOf(next), 1);
    done.add(next.symptom.id);
    ordered.push(next);
  }
  return ordered;
}

function proofsOf(symptom, logs) {
  const shown = new Map();
  for (const log of logs) {
    const hits = log.proof(symptom.match);
    if (hits) shown.set(log, hits);
  }
  if (!shown.size || (symptom.every && shown.size < logs.length)) return [];
  if (symptom.differ) {
    const said = logs.filter((log) => log.seen.has(symptom.differ)).map((log) => log.seen.get(symptom.differ).first.value);
    if (new Set(said).size < 2) return [];
  }
  if (symptom.others) {
    const held = shown.size;
    for (const log of logs.filter((one) => !shown.has(one))) {
      const hits = log.proof(symptom.others);
      if (hits) shown.set(log, hits);
    }
    if (shown.size === held) return [];
  }
  return logs.filter((log) => shown.has(log)).map((log) => ({ log, hits: shown.get(log) }));
}

function makeHit(name, line, start, text, match) {
  return { name, line, start, text: excerpt(text, match), value: match.length > 1 ? (match[1] ?? null) : null };
}

function byPlace(one, other) {
  return one.line - other.line || one.start - other.start;
}

function inOrder(hits) {
  const unlike = new Map(hits.map((hit) => [JSON.stringify(hit), hit]));
  return [...unlike.values()].sort(byPlace);
}

/** The last part of a line that is not empty: where it starts in its line, and how many line ends stand behind it. */
function lastPiece(block) {
  let end = block.length;
  let endsBehind = 0;
  while (end && "\r\n \t".includes(block[end - 1])) {
    end -= 1;
    if (block[end] === "\n") endsBehind += 1;
  }
  if (!end) return { text: "", start: 0, endsBehind };
  const lineStart = block.lastIndexOf("\n", end - 1) + 1;
  const start = Math.max(lineStart, block.lastIndexOf("\r", end - 1) + 1);
  return { text: block.slice(start, end), start: start - lineStart, endsBehind };
}

/** The match with what stands around it, counted in characters as Python counts them. */
function excerpt(text, match) {
  const marks = text.length > EXCERPT ? Array.from(text) : [];
  if (marks.length <= EXCERPT) return text.replace(ENDS, "");
  const start = Array.from(text.slice(0, match.index)).length;
  const end = start + Array.from(match[0]).length;
  const left = Math.max(0, Math.min(start - EXCERPT / 4, marks.length - EXCERPT));
  const right = Math.min(marks.length, Math.max(left + EXCERPT, Math.min(end, left + 2 * EXCERPT)));
  const middle = marks.slice(left, right).join("").replace(ENDS, "");
  return (left ? "…" : "") + middle + (right < marks.length ? "…" : "");
}

/** A line of a log, fit to be shown and passed on: no control characters, no secrets. */
export function shown(text) {
  let marks = Array.from(text.replace(SECRET, (_, before) => `${before ?? ""}[hidden]`));
  if (marks.length > LONGEST_SHOWN) {
    const [head, tail] = [Math.floor((LONGEST_SHOWN * 2) / 3), LONGEST_SHOWN / 4];
    marks = [...marks.slice(0, head), ..." ... ", ...marks.slice(-tail)];
  }
  return marks.map((mark) => (mark !== " " && /[\p{C}\p{Z}]/u.test(mark) ? escaped(mark) : mark)).join("");
}

function escaped(mark) {
  const short = { "\t": "\\t", "\n": "\\n", "\r": "\\r" }[mark];
  if (short) return short;
  const code = mark.codePointAt(0);
  const [letter, width] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${letter}${code.toString(16).padStart(width, "0")}`;
}

/** What was found, as plain data: the fields that `diagnose.py --json` gives. */
export function result(found, logs) {
  return {
    logs: logs.map(({ rank, file, lines }) => ({ rank, file, lines })),
    symptoms: found.map(({ symptom, proof, followsFrom, leadsTo }) => ({
      id: symptom.id,
      title: symptom.title,
      severity: symptom.severity,
      follows_from: followsFrom,
      leads_to: leadsTo,
      proof: proof.map(({ log, hits }) => ({
        rank: log.rank,
        file: log.file,
        lines: hits.map((hit) => ({
          line: hit.line,
          name: hit.name,
          text: shown(hit.text),
          count: log.seen.get(hit.name).count,
        })),
      })),
      cause: symptom.cause,
    })),
  };
}

/**
 * Read logs and find what they show, in slices, so that the page stays alive.
 *
 * @param data What docs/assets/data/diagnose.json holds.
 * @param sources One a rank, in rank order: {name, blob}.
 * @param progress Called with the bytes read so far; it throws to stop the reading.
 */
export async function diagnose(data, sources, progress = () => {}) {
  const scanner = new Scanner(data);
  const orders = ordersOf(data);
  const logs = [];
  let bytes = 0;
  let rested = performance.now();
  for (const [rank, { name, blob }] of sources.entries()) {
    const log = new RankLog(String(rank), name, orders);
    const feeder = new Feeder(scanner, log, data.limits);
    for await (const [block, read] of blocksOf(blob, data.limits.block)) {
      feeder.take(block);
      bytes += read;
      if (performance.now() - rested > 20) {
        progress(bytes);
        await rest();
        rested = performance.now();
      }
    }
    feeder.end();
    logs.push(log);
  }
  progress(bytes);
  return { logs, found: find(data, logs) };
}

/** What a log holds, in blocks of UTF-8, and how many of its bytes that took. */
async function* blocksOf(blob, size) {
  const head = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (head[0] === 0x1f && head[1] === 0x8b) {
    const reader = blob.stream().pipeThrough(new DecompressionStream("gzip")).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield [binary(part.value), 0];
    return;
  }
  const wide = { "255,254": "utf-16le", "254,255": "utf-16be" }[String(head)];
  const decoder = wide && new TextDecoder(wide, { ignoreBOM: true });
  for (let at = 0; at < blob.size; at += size) {
    let bytes = new Uint8Array(await blob.slice(at, at + size).arrayBuffer());
    const read = bytes.length;
    if (decoder) bytes = new TextEncoder().encode(decoder.decode(bytes, { stream: true }));
    yield [binary(bytes), read];
  }
}

/** Let the page draw and answer. */
function rest() {
  return new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      done();
    };
    port2.postMessage(0);
  });
}

// --- the page

/** Text of this size goes past the text field, which would take minutes to lay it out. */
const LONGEST_FIELD = 500_000;

function linkTo(path, text) {
  return make("a", { href: new URL(path, SITE).href }, text);
}

function counted(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

function sizeOf(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function symptomCard({ symptom, proof, followsFrom, leadsTo }, titles) {
  const others = (names) =>
    names.flatMap((name, index) => [index ? ", " : "", make("a", { href: `#found-${name}` }, titles.get(name))]);
  const lines = proof.flatMap(({ log, hits }) =>
    hits.map((hit) => {
      const count = log.seen.get(hit.name).count;
      const place = `rank ${log.rank}, ${log.file}, line ${hit.line.toLocaleString("en")}`;
      const times = count > 1 ? `, and ${counted(count - 1, "time")} more` : "";
      return make("li", {}, make("span", { class: "tool-place" }, place + times), make("code", {}, shown(hit.text)));
    }),
  );
  const known = symptom.first && symptom.last && `SGLang ${symptom.first} to ${symptom.last}`;
  const since = symptom.first ? `SGLang ${symptom.first} and later` : symptom.last ? `SGLang up to ${symptom.last}` : null;
  return make(
    "section",
    {
      id: `found-${symptom.id}`,
      class: `admonition ${symptom.severity === "error" ? "failure" : "warning"}`,
      "aria-label": symptom.title,
    },
    make("h2", { class: "admonition-title" }, `${symptom.severity === "error" ? "Error" : "Warning"}: ${symptom.title}`),
    lines.length ? make("ul", { class: "tool-lines" }, ...lines) : make("p", {}, "What proves it is what the log lacks."),
    make("p", {}, make("strong", {}, "Cause. "), symptom.cause),
    followsFrom.length ? make("p", {}, "Follows from: ", ...others(followsFrom), ".") : null,
    leadsTo.length ? make("p", {}, "Leads to: ", ...others(leadsTo), ".") : null,
    known || since ? make("p", {}, `Known in ${known || since}.`) : null,
    make(
      "p",
      {},
      linkTo(`troubleshooting/#${symptom.id}`, `What to do about ${symptom.id}`),
      symptom.defect ? " · " : "",
      symptom.defect ? linkTo(`patches/${symptom.defect}/`, `The patch ${symptom.defect}`) : "",
    ),
  );
}

function nothingFound(data, logs) {
  const last = logs
    .filter((log) => log.lastLine[1])
    .map((log) =>
      make(
        "li",
        {},
        make("span", { class: "tool-place" }, `the last line of ${log.file}, line ${log.lastLine[0].toLocaleString("en")}`),
        make("code", {}, shown(log.lastLine[1])),
      ),
    );
  return make(
    "section",
    { class: "admonition note", "aria-label": "Nothing known was found" },
    make("h2", { class: "admonition-title" }, `None of the ${data.symptoms.length} known symptoms is in there`),
    last.length ? make("ul", { class: "tool-lines" }, ...last) : null,
    make("p", {}, linkTo("troubleshooting/#nothing-here-fits", "What to collect, and where to report it")),
  );
}

function summary(found, logs) {
  const lines = logs.reduce((sum, log) => sum + log.lines, 0);
  const roots = found.filter((one) => !one.followsFrom.length).map((one) => one.symptom.id);
  const start = roots.length ? ` Begin with ${roots.join(", ")}.` : "";
  return `${counted(found.length, "symptom")} in ${counted(lines, "line")}.${start}`;
}

class Page {
  // Loaded with the page: reading a log then makes no request at all.
  #data = loadData();
  #files = [];
  #run = 0;
  #timer = 0;

  constructor(root) {
    this.#data.catch((problem) => (this.status.textContent = `The tool does not start: ${problem.message}`));
    this.root = root;
    this.fields = make("div");
    this.list = make("ul", { class: "tool-files" });
    this.bar = make("progress", { max: "1", "aria-label": "Reading the log", hidden: "" });
    this.status = make("p", { class: "tool-status", role: "status" });
    this.results = make("div");
    const more = make("button", { type: "button", class: "md-button" }, "Add the log of another rank");
    more.addEventListener("click", () => this.#addField().focus());
    const clear = make("button", { type: "button", class: "md-button" }, "Clear");
    clear.addEventListener("click", () => this.#clear());
    const choose = make("input", { type: "file", multiple: "", id: "diagnose-files" });
    choose.addEventListener("change", () => {
      this.#addFiles(choose.files);
      choose.value = "";
    });
    this.#addField();
    root.replaceChildren(
      this.fields,
      make("p", {}, make("label", { for: "diagnose-files" }, "Or choose log files, one a rank (.gz too): "), choose),
      this.list,
      make("p", { class: "tool-buttons" }, more, " ", clear),
      this.bar,
      this.status,
      this.results,
    );
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("tool-over");
    });
    root.addEventListener("dragleave", () => root.classList.remove("tool-over"));
    root.addEventListener("drop", (event) => {
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      root.classList.remove("tool-over");
      this.#addFiles(event.dataTransfer.files);
    });
  }

  #addField() {
    const number = this.fields.children.length;
    const field = make("textarea", {
      id: `diagnose-log-${number}`,
      rows: "8",
      spellcheck: "false",
      autocomplete: "off",
      autocapitalize: "off",
      placeholder: "docker logs NAME 2>&1",
    });
    const label = number ? `The log of another rank (${number + 1})` : "Paste a log here, or drop files";
    field.addEventListener("input", () => this.#later(300));
    field.addEventListener("paste", (event) => {
      const text = event.clipboardData?.getData("text/plain") ?? "";
      if (text.length < LONGEST_FIELD) return;
      event.preventDefault();
      this.#add(`pasted log ${number + 1}`, new Blob([text]));
    });
    this.fields.append(make("p", {}, make("label", { for: field.id }, label), field));
    return field;
  }

  #addFiles(files) {
    // Browsers give chosen files in any order; rank0.log comes before rank1.log, and rank10.log behind rank9.log.
    const sorted = [...files].sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
    for (const file of sorted) this.#add(file.name, file);
  }

  #add(name, blob) {
    const entry = { name, blob };
    this.#files.push(entry);
    const remove = make("button", { type: "button", class: "tool-remove", "aria-label": `Remove ${name}` }, "Remove");
    const item = make("li", {}, `${name} (${sizeOf(blob.size)}) `, remove);
    remove.addEventListener("click", () => {
      this.#files.splice(this.#files.indexOf(entry), 1);
      item.remove();
      this.#later(0);
    });
    this.list.append(item);
    this.#later(0);
  }

  #clear() {
    this.#files = [];
    this.list.replaceChildren();
    this.fields.replaceChildren();
    this.#addField().focus();
    this.#later(0);
  }

  #sources() {
    const pasted = [...this.fields.querySelectorAll("textarea")]
      .map((field, index) => ({ name: `pasted log ${index + 1}`, blob: new Blob([field.value]) }))
      .filter(({ blob }) => blob.size);
    return [...pasted, ...this.#files];
  }

  #later(wait) {
    this.#run += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(this.#run), wait);
  }

  async #look(run) {
    const sources = this.#sources();
    this.bar.hidden = true;
    if (!sources.length) {
      this.status.textContent = "";
      this.results.replaceChildren();
      return;
    }
    const total = sources.reduce((sum, { blob }) => sum + blob.size, 0);
    const stopped = new Error("another reading began");
    try {
      const data = await this.#data;
      this.bar.hidden = total < LONGEST_FIELD;
      const { logs, found } = await diagnose(data, sources, (bytes) => {
        if (run !== this.#run) throw stopped;
        this.bar.value = total ? bytes / total : 1;
      });
      const titles = new Map(data.symptoms.map((one) => [one.id, one.title]));
      this.status.textContent = summary(found, logs);
      this.results.replaceChildren(
        ...(found.length ? found.map((one) => symptomCard(one, titles)) : [nothingFound(data, logs)]),
      );
    } catch (problem) {
      if (problem === stopped) return;
      this.results.replaceChildren();
      this.status.textContent = `The log cannot be read: ${problem.message}`;
    }
    this.bar.hidden = true;
  }
}

async function loadData() {
  const answer = await fetch(new URL("assets/data/diagnose.json", SITE));
  if (!answer.ok) throw new Error(`the list of symptoms does not load (${answer.status})`);
  return answer.json();
}

const root = document.getElementById("diagnose-tool");
if (root) new Page(root);
