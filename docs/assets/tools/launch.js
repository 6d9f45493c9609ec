// From a cluster to its files, without a page: checks the values and fills them into what Python rendered.
//
// A cluster here is the content of a cluster file. The data (docs/assets/builder/launches.json) holds the schema's
// constraints, what the rules ask of ports, and every file of every recipe with places left open.

import { canonicalIp, isHost, isUnspecified } from "./address.js";
import { csvField, quote, withPort } from "./shell.js";

// Line ends and other controls, and what shows text in another order than it is read, or not at all.
const CONTROL = /[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/u;

/** The choice for a recipe and a release; for a release that is not offered, the recipe's own. */
export function findChoice(data, recipe, release) {
  const offered = data.choices.filter((choice) => choice.recipe === recipe);
  return offered.find((choice) => choice.release === release) ?? offered.find((choice) => choice.own);
}

// --- checking

/** What forbids a launch: the path of each wrong value, and what to do about it. */
export function check(data, choice, cluster) {
  const found = [];
  const refuse = (path, help) => found.some((one) => one.path === path) || found.push({ path, help });
  for (const [path, value, field] of values(data, choice, cluster)) {
    for (const help of broken(value, field)) refuse(path, help);
  }
  if (found.length === 0 && cluster.nodes.length !== choice.nodes) refuse("nodes", `This recipe is for ${choice.nodes} nodes.`);
  if (found.length > 0) return found;

  for (const path of ["model_path", "serve.host", ...cluster.nodes.map((_, node) => `nodes.${node}.address`)]) {
    if (CONTROL.test(at(cluster, path))) refuse(path, data.helps.control);
  }
  const seen = new Set();
  cluster.nodes.forEach(({ address }, node) => {
    const same = canonicalIp(address) ?? address.toLowerCase().replace(/\.+$/, "");
    if (!isHost(address) || isUnspecified(address)) refuse(`nodes.${node}.address`, data.helps.address);
    else if (seen.has(same)) refuse(`nodes.${node}.address`, data.helps.repeated);
    seen.add(same);
  });
  if (!isHost(cluster.serve.host)) refuse("serve.host", data.helps.serve_host);
  for (const [path, { minimum, maximum, help }] of Object.entries(choice.bounds)) {
    const value = at(cluster, path) ?? data.fields[path].default;
    if (value < (minimum ?? value) || value > (maximum ?? value)) refuse(path, help);
  }
  const clash = choice.clashes[cluster.serve.port - cluster.rendezvous.port];
  if (clash) refuse("serve.port", clash);
  return found;
}

/** Every value that the schema knows, with its constraints; one for each node that the recipe needs. */
function* values(data, choice, cluster) {
  for (const [pattern, field] of Object.entries(data.fields)) {
    const count = pattern.includes("*") ? choice.nodes : 1;
    for (let node = 0; node < count; node++) {
      const path = pattern.replace("*", node);
      const value = at(cluster, path);
      const isOptional = "default" in field || (pattern.includes("*") && pattern !== "nodes.*.address");
      if (value !== undefined || !isOptional) yield [path, value, field];
    }
  }
}

function at(cluster, path) {
  return path.split(".").reduce((value, key) => value?.[key], cluster);
}

/** The help of each keyword that a value breaks. */
function* broken(value, field) {
  const help = field.help ?? field.description;
  if (field.type === "array") {
    if (!Array.isArray(value) || value.length < field.minItems) yield `Give at least one. ${field.description}`;
    else {
      for (const item of value) yield* broken(item, field.items);
      if (field.uniqueItems && new Set(value).size < value.length) yield "One name stands there twice. Keep one of each.";
    }
  } else if (field.type === "integer") {
    if (!Number.isSafeInteger(value)) yield `Write a whole number. ${help}`;
    else if (value < field.minimum) yield `Write ${field.minimum} or more. ${help}`;
    else if (value > field.maximum) yield `Write ${field.maximum} or less. ${help}`;
  } else if (typeof value !== "string" || value.length < (field.minLength ?? 0)) {
    yield `Fill this in. ${help}`;
  } else if (field.pattern !== undefined && !new RegExp(field.pattern, "u").test(value)) {
    yield help;
  }
}

// --- filling in

/** The files that `gen_launch.py --out` writes, by name, for a cluster without errors. */
export function filesOf(data, choice, target, cluster) {
  const given = (key, node) => {
    const of = cluster.nodes[node];
    switch (key) {
      case "name": return cluster.name;
      case "model_path": return cluster.model_path;
      case "rendezvous_port": return String(cluster.rendezvous.port);
      case "serve_host": return cluster.serve.host;
      case "serve_port": return String(cluster.serve.port);
      case "address": return of.address;
      case "socket_interface": return of.socket_interface ?? cluster.fabric.socket_interface;
      case "rdma_devices": return of.rdma_devices ?? cluster.fabric.rdma_devices;
      default: throw new Error(`the data asks for ${key}, which this script does not know`);
    }
  };
  const line = (index) => {
    const parts = data.lines[index];
    return typeof parts === "string" ? parts : fill(parts, given);
  };
  const texts = Object.entries(choice.targets[target]).map(([name, lines]) => [name, lines.map(line).join("\n")]);
  return Object.fromEntries(texts);
}

function fill(parts, given) {
  return parts.map((part) => fillOne(part, given)).join("");
}

function fillOne(part, given) {
  if (typeof part === "string") return part;
  if (part.q) return quote(fill(part.q, given));
  if (part.csv) return csvField(fill(part.csv, given));
  if (part.endpoint) return withPort(...part.endpoint.map((one) => fillOne(one, given)));
  const value = given(part.v, part.n);
  return part.by === undefined ? value : value.join(part.by);
}

// --- the cluster file

/** The cluster as a YAML file, which Python reads to the same values. */
export function clusterYaml(data, cluster) {
  const list = (items) => `[${items.map(scalar).join(", ")}]`;
  const nodes = cluster.nodes.map((node) => {
    const keys = [`address: ${scalar(node.address)}`];
    if (node.socket_interface !== undefined) keys.push(`socket_interface: ${scalar(node.socket_interface)}`);
    if (node.rdma_devices !== undefined) keys.push(`rdma_devices: ${list(node.rdma_devices)}`);
    return `  - {${keys.join(", ")}}`;
  });
  const lines = [
    `# yaml-language-server: $schema=${data.schema}`,
    `name: ${scalar(cluster.name)}`,
    `model_path: ${scalar(cluster.model_path)}`,
    ...(cluster.gpus_per_node === undefined ? [] : [`gpus_per_node: ${cluster.gpus_per_node}`]),
    `rendezvous: {port: ${cluster.rendezvous.port}}`,
    `serve: {host: ${scalar(cluster.serve.host)}, port: ${cluster.serve.port}}`,
    "fabric:",
    `  socket_interface: ${scalar(cluster.fabric.socket_interface)}`,
    `  rdma_devices: ${list(cluster.fabric.rdma_devices)}`,
    "nodes:",
    ...nodes,
  ];
  return lines.join("\n") + "\n";
}

// What every reader of YAML takes for text without quotes: a name with a letter first, or an IPv4 address.
const PLAIN = /^(?:[A-Za-z/][A-Za-z0-9._/@-]*[A-Za-z0-9]|[0-9]{1,3}(?:\.[0-9]{1,3}){3})$/;
const NOT_TEXT = /^(?:true|false|null|yes|no|on|off)$/i;

function scalar(text) {
  if (PLAIN.test(text) && !NOT_TEXT.test(text)) return text;
  const escaped = (ch) => {
    if (ch === '"' || ch === "\\") return `\\${ch}`;
    if (/[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(ch)) return ch;
    return `\\U${ch.codePointAt(0).toString(16).padStart(8, "0")}`;
  };
  return `"${Array.from(text, escaped).join("")}"`;
}
