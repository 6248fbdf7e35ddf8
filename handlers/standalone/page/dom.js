/**
 * Building and finding elements. Text always goes in as text, never as markup: what a provider answers is not ours.
 */

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg';

/** @typedef {Record<string, string | number | boolean | null | undefined>} Attributes */

/**
 * @param {Element} element
 * @param {Attributes} attributes `true` writes an empty attribute; `false`, `null` and `undefined` write none
 */
function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
}

/**
 * An HTML element with its attributes and children.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function html(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

/**
 * An SVG element with its attributes and children.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG_NAMESPACE, tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

/**
 * Writes text only when it differs, so that a selection survives and assistive technology is not told of nothing.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * The page's element with this id.
 *
 * @param {string} id
 * @returns {HTMLElement}
 * @throws {Error} when the page has none: page and script do not belong together
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element #${id}`);
  return element;
}

/**
 * The element under `root` that plays this role (`data-role`).
 *
 * @param {ParentNode} root
 * @param {string} role
 * @returns {HTMLElement}
 * @throws {Error} when there is none
 */
export function byRole(root, role) {
  const element = root.querySelector(`[data-role="${role}"]`);
  if (!element) throw new Error(`the page has no element with the role ${role}`);
  return /** @type {HTMLElement} */ (element);
}

/**
 * A copy of a template's one element.
 *
 * @param {string} id the template's id
 * @returns {HTMLElement}
 */
export function fromTemplate(id) {
  const template = /** @type {HTMLTemplateElement} */ (byId(id));
  const element = /** @type {HTMLElement} */ (template.content.firstElementChild);
  return /** @type {HTMLElement} */ (element.cloneNode(true));
}

/**
 * Tells screen readers something, once, politely. The page's only spoken voice besides the banner.
 *
 * @param {string} text
 */
export function announce(text) {
  byId('announcer').textContent = text;
}
