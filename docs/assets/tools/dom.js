// What Diagnose and Compare build their pages of.

/** The site's root, wherever it is served. */
export const SITE = new URL("../../", import.meta.url);

/** An element with its attributes and children; text becomes text, never markup, and null nothing. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}
