// The quoting of the page's scripts. Each function does, byte for byte, what its namesake in Python does
// (mimo_gb10/text/shell.py, names.py, and Python's csv); tests/site/test_builder.py compares them.

const UNSAFE = /[^A-Za-z0-9_@%+=:,./-]/;

/** One shell word that expands to exactly `value`. */
export function quote(value) {
  if (value.includes("\0")) throw new Error("a program argument cannot hold a NUL character");
  if (value === "") return "''";
  return UNSAFE.test(value) ? `'${value.replaceAll("'", `'"'"'`)}'` : value;
}

/** One field of a line of comma-separated values. */
export function csvField(value) {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

/** `address:port`, with the brackets that an IPv6 address needs. */
export function withPort(address, port) {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
