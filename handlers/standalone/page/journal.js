/** The log of this page's requests. */

import { byRole, fromTemplate, setText } from './dom.js';

/** How many lines the journal keeps: what fits on a screen or two. */
const LINES_MAX = 20;

/** How much of an answer is shown, characters: a provider may answer at length. */
const ANSWER_MAX = 2_000;

/** How long "Copied" stays on the button, ms. */
const COPIED_MS = 1_500;

/**
 * @typedef {object} JournalEntry
 * @property {string} method
 * @property {string} path
 * @property {number} status HTTP status; 0 when no answer came
 * @property {number} durationMs
 * @property {string} code what does the same
 * @property {any} answer parsed and free of secrets; `null` when there was no JSON
 * @property {boolean} repeats a poll: calls with the same outcome share one line
 */

/** @typedef {{element: HTMLElement, key: string, entry: JournalEntry, count: number}} Line */

/**
 * @param {JournalEntry} entry
 * @returns {string}
 */
function answerText({ status, answer }) {
  if (status === 0) return '(no answer)';
  if (answer === null) return '(no JSON body)';
  const text = JSON.stringify(answer, null, 2);
  return text.length > ANSWER_MAX ? `${text.slice(0, ANSWER_MAX)}\n…` : text;
}

/** @param {number} status */
function tone(status) {
  if (status === 0 || status >= 500) return 'bad';
  return status >= 400 ? 'warn' : 'good';
}

/** Keeps the last requests, newest first, in a list of the page. */
export class Journal {
  /** @type {HTMLElement} */
  #list;
  /** @type {Line[]} newest first */
  #lines = [];

  /** @param {HTMLElement} list an `ol` */
  constructor(list) {
    this.#list = list;
  }

  /** @param {JournalEntry} entry */
  add(entry) {
    const key = `${entry.method} ${entry.path} ${entry.status}`;
    const known = entry.repeats ? this.#lines.find((line) => line.key === key) : undefined;
    if (known) {
      known.entry = entry;
      known.count += 1;
      this.#fill(known);
      return;
    }
    const line = { element: fromTemplate('journal-template'), key, entry, count: 1 };
    this.#lines.unshift(line);
    this.#list.prepend(line.element);
    for (const old of this.#lines.splice(LINES_MAX)) old.element.remove();
    this.#fillOnce(line);
    this.#fill(line);
  }

  /**
   * What stays as it is for the life of a line.
   *
   * @param {Line} line
   */
  #fillOnce({ element, entry }) {
    setText(byRole(element, 'method'), entry.method);
    setText(byRole(element, 'path'), entry.path);
    setText(byRole(element, 'code'), entry.code);
    const copy = byRole(element, 'copy');
    copy.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(entry.code);
        copy.textContent = 'Copied';
      } catch {
        getSelection()?.selectAllChildren(byRole(element, 'code'));
        copy.textContent = 'Selected';
      }
      setTimeout(() => (copy.textContent = 'Copy'), COPIED_MS);
    });
  }

  /** @param {Line} line */
  #fill({ element, entry, count }) {
    const status = byRole(element, 'status');
    status.dataset.tone = tone(entry.status);
    setText(status, entry.status === 0 ? 'no answer' : String(entry.status));
    setText(byRole(element, 'repeats'), count > 1 ? `(${count} times)` : '');
    setText(byRole(element, 'duration'), `${Math.round(entry.durationMs)} ms`);
    // A poll's answer changes every second; only a reader who opened the line pays for it.
    const details = /** @type {HTMLDetailsElement} */ (element.firstElementChild);
    if (details.open) {
      setText(byRole(element, 'answer'), answerText(entry));
    }
    details.ontoggle = () => setText(byRole(element, 'answer'), answerText(entry));
  }
}
