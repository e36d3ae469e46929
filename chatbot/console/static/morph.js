// Changes one part of the page into another with as few changes as possible, so that focus, selection, scrolling and
// opened details stay as they are.

export function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || from.id !== to.id) {
    from.replaceWith(document.importNode(to, true));
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  attributes(from, to);
  let place = from.firstChild;
  for (const child of to.childNodes) {
    const same = partner(from, place, child);
    if (!same) {
      from.insertBefore(document.importNode(child, true), place);
      continue;
    }
    while (place !== same) place = drop(place);
    place = same.nextSibling;
    morph(same, child);
  }
  while (place) place = drop(place);
}

// Returns the node that stands for `child`: the one with its id, else the one at its position unless that has an id.
function partner(from, place, child) {
  if (!child.id) return place?.id ? null : place;
  for (let node = place; node; node = node.nextSibling) if (node.id === child.id) return node;
  return null;
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function attributes(from, to) {
  const keep = (name) => name === "open" && from.nodeName === "DETAILS"; // the reader's, not ours
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !keep(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !keep(name)) from.setAttribute(name, value);
  }
}
