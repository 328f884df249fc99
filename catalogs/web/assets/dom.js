// Elements. All text goes in as text nodes: captions and paths are not to be trusted.
export function el(tag, props, ...children) {
  const {aria = {}, ...rest} = props || {};
  const node = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(aria)) node.setAttribute(`aria-${name}`, value);
  node.append(...children);
  return node;
}

export function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http:" + "//www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function byId(name) { return document.getElementById(name); }

export function few(value) {  // a number in a few digits
  return Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(1) : String(+value.toPrecision(3));
}

export function definitions(pairs) {
  return el("dl", {}, ...pairs.flatMap(([name, value]) =>
    [el("dt", {textContent: name}), el("dd", {textContent: value})]));
}

export function typing(event) {  // keys that belong to a field
  return /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range";
}
