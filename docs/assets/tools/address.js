// Which addresses are well formed, and which are one address: as mimo_gb10/names.py says it.

const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?$/;
const ZONE = /^[A-Za-z0-9_.-]{1,15}$/;

/** Whether it is an IP address or a host name. 192.168.1 and 300.1.1.1 are neither. */
export function isHost(text) {
  return canonicalIp(text) !== null || (HOST_NAME.test(text) && !/^[0-9.]+$/.test(text));
}

/** A text that is the same for every spelling of one IP address, or null if it is none. */
export function canonicalIp(text) {
  const [, host, zone] = /^([^%]*)(?:%([^]*))?$/.exec(text);
  if (zone !== undefined && !ZONE.test(zone)) return null;
  const parts = ipv4(host) ?? ipv6(host);
  if (parts === null) return null;
  return `${parts.length}:${parts.join(".")}%${zone ?? ""}`;
}

/** Whether it is the address that means every interface. */
export function isUnspecified(text) {
  return /^[48]:0(\.0)*%$/.test(canonicalIp(text) ?? "");
}

function ipv4(text) {
  const parts = text.split(".");
  const fits = (part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255;
  return parts.length === 4 && parts.every(fits) ? parts.map(Number) : null;
}

function ipv6(text) {
  let groups = text.split(":");
  if (groups.length < 3) return null;
  const last = groups.at(-1);
  if (last.includes(".")) {
    const parts = ipv4(last);
    if (parts === null) return null;
    const pair = (high, low) => (high * 256 + low).toString(16);
    groups = [...groups.slice(0, -1), pair(parts[0], parts[1]), pair(parts[2], parts[3])];
  }
  const joined = groups.join(":");
  const halves = joined.split("::");
  if (halves.length > 2) return null;
  const read = (half) => (half === "" ? [] : half.split(":"));
  const [high, low] = [read(halves[0]), read(halves[1] ?? "")];
  if (![...high, ...low].every((group) => /^[0-9A-Fa-f]{1,4}$/.test(group))) return null;
  const missing = 8 - high.length - low.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  return [...high, ...Array(missing).fill("0"), ...low].map((group) => parseInt(group, 16));
}
