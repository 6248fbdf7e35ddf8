/** The panel with what a user can do about their own session and data. */

import { announce, byId, setText } from './dom.js';
import { Problem } from './api.js';
import { plural } from './timewords.js';

/** The session's panel. */
export class SessionPanel {
  #panel = byId('session');
  #error = byId('session-error');
  /** @type {() => void} */
  #changed;

  /**
   * @param {import('./api.js').Api} api
   * @param {() => void} changed called when the session may have ended
   */
  constructor(api, changed) {
    this.#changed = changed;
    const dialog = /** @type {HTMLDialogElement} */ (byId('delete-dialog'));
    byId('session-logout').addEventListener('click', () => this.#attempt(() => api.logout(false), 'Logged out.'));
    byId('session-logout-everywhere').addEventListener('click', () => this.#attempt(() => api.logout(true), 'Logged out everywhere.'));
    // No form in the dialog: the policy of the page lets no form act.
    byId('session-delete').addEventListener('click', () => dialog.showModal());
    byId('delete-cancel').addEventListener('click', () => dialog.close());
    byId('delete-confirm').addEventListener('click', () => {
      dialog.close();
      this.#attempt(() => api.deleteUser(), 'Everything about you has been deleted.');
    });
  }

  /**
   * @param {boolean} present whether there is a session
   * @param {number} connections how many it has
   */
  show(present, connections) {
    if (!present && this.#panel.contains(document.activeElement)) byId('connections-title').focus();
    this.#panel.hidden = !present;
    const count = connections === 0 ? 'no connection' : plural(connections, 'connection');
    setText(byId('session-summary'), `This browser is signed in, with ${count}. Logging out disconnects nothing: tokens go on being renewed, and the next login finds them.`);
  }

  /**
   * @param {() => Promise<void>} action
   * @param {string} done
   */
  async #attempt(action, done) {
    this.#error.hidden = true;
    try {
      await action();
      announce(done);
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      setText(this.#error, cause.words);
      this.#error.hidden = false;
      announce(cause.words);
    }
    this.#changed();
  }
}
