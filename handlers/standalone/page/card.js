/** One provider's card: what the backend knows of the connection, and what can be done with it. */

import { Problem, shortened } from './api.js';
import { announce, byRole, fromTemplate, html, setText } from './dom.js';
import { faultSwitches } from './faults.js';
import { History } from './history.js';
import { STATES, errorWords, reasonWords, stateOf } from './states.js';
import { Timeline } from './timeline.js';
import { countdown, instant, relative, span } from './timewords.js';

/** How many fields of an API's answer are shown. */
const ANSWER_FIELDS_MAX = 6;

/** How much of one field is shown, characters. */
const ANSWER_FIELD_CHARS_MAX = 80;

/** From when on the end of the authorization is pointed out, seconds: the first of the backend's own reminders. */
const REAUTH_SOON_S = 14 * 24 * 3600;

/** The provider's API refused the token. */
const UNAUTHORIZED = 401;

/** One card of the page. */
export class Card {
  /** @type {import('./api.js').OfferedProvider} */
  #provider;
  /** @type {import('./api.js').Api} */
  #api;
  /** @type {import('./clock.js').ServerClock} */
  #clock;
  /** @type {() => void} */
  #changed;
  /** @type {History} */
  #history;
  /** @type {Timeline} */
  #timeline;
  /** @type {import('./api.js').Connection | null} */
  #connection = null;
  /** @type {import('./states.js').StateName} */
  #state = 'unknown';
  #busy = false;

  /**
   * @param {import('./api.js').OfferedProvider} provider
   * @param {{api: import('./api.js').Api, clock: import('./clock.js').ServerClock, faults: boolean, changed: () => void}} surroundings
   *   `faults`: whether the sandbox's switches can be reached; `changed`: called when the backend should be asked anew
   */
  constructor(provider, { api, clock, faults, changed }) {
    this.#provider = provider;
    this.#api = api;
    this.#clock = clock;
    this.#changed = changed;
    this.#history = new History(provider.id);
    this.element = fromTemplate('card-template');
    this.element.dataset.provider = provider.id;
    this.#timeline = new Timeline(this.#part('timeline'));
    this.#label(faults);
    this.#show('unknown');
    this.#part('call-api').addEventListener('click', () => this.#act('call-api', () => this.#callApi()));
    this.#part('force-refresh').addEventListener('click', () => this.#act('force-refresh', () => this.#forceRefresh()));
    this.#part('disconnect').addEventListener('click', () => this.#act('disconnect', () => this.#disconnect()));
  }

  /**
   * Takes in what the backend said.
   *
   * @param {import('./api.js').Connection | null} connection `null`: there is none
   */
  update(connection) {
    const before = this.#state;
    this.#connection = connection;
    if (connection) {
      const { refreshed } = this.#history.observe(connection, this.#clock.now(), this.#clock.speed);
      if (refreshed) this.#flash();
    } else {
      this.#history.clear();
    }
    const state = stateOf(connection);
    if (state !== before) {
      this.#show(state);
      if (before !== 'unknown') announce(`${this.#provider.name}: ${STATES[state].label}.`);
    }
    this.#fillFacts();
    this.tick();
  }

  /** Moves on what moves with time alone. Costs nothing while nothing is connected. */
  tick() {
    const connection = this.#connection;
    if (!connection || connection.expires_at === null || connection.status !== 'active') return;
    const now = this.#clock.now();
    const { expires_at: expiresAt, next_refresh_at: nextRefreshAt } = connection;
    const lifetime = connection.lifetime ?? expiresAt - (connection.issued_at ?? now);
    setText(this.#part('countdown'), countdown(expiresAt - now));
    setText(this.#part('countdown-note'), expiresAt > now ? `of ${span(lifetime)}` : `ran out ${relative(expiresAt, now)}`);
    setText(this.#part('expires'), `${instant(expiresAt, now)}, ${relative(expiresAt, now)}`);
    const due = nextRefreshAt !== null && nextRefreshAt <= now;
    const next = nextRefreshAt === null ? 'None planned' : `${instant(nextRefreshAt, now)}, ${due ? 'due' : relative(nextRefreshAt, now)}`;
    setText(this.#part('next-refresh'), next);
    this.#timeline.draw({ name: this.#provider.name, now, expiresAt, lifetime, nextRefreshAt, history: this.#history });
  }

  /** Keeps the past for this tab's next page. */
  save() {
    if (this.#connection) this.#history.save();
  }

  /** @param {string} role */
  #part(role) {
    return byRole(this.element, role);
  }

  /** @param {boolean} faults */
  #label(faults) {
    const { id, name, sandbox } = this.#provider;
    const title = this.#part('name');
    title.id = `card-${id}`;
    setText(title, name);
    this.#part('sandbox').hidden = !sandbox;
    this.element.setAttribute('aria-labelledby', title.id);
    for (const role of ['connect', 'call-api', 'force-refresh', 'disconnect']) {
      const control = this.#part(role);
      control.id = `${role}-${id}`;
      control.setAttribute('aria-labelledby', `${control.id} ${title.id}`);
    }
    this.#part('connect').setAttribute('href', `/auth/${encodeURIComponent(id)}/login?return_to=${encodeURIComponent(`${location.origin}/`)}`);
    if (faults && sandbox) this.element.append(faultSwitches(this.#api, this.#provider, () => this.#connection?.account_id ?? null));
  }

  /**
   * Shows what belongs to a state and hides the rest.
   *
   * @param {import('./states.js').StateName} state
   */
  #show(state) {
    this.#state = state;
    this.element.dataset.state = state;
    setText(this.#part('state'), STATES[state].label);
    this.#part('shape').setAttribute('d', STATES[state].shape);
    const alive = state === 'fresh' || state === 'stale' || state === 'expired';
    const row = alive || state === 'reauthorization_required';
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    this.#part('call-api').hidden = !alive;
    this.#part('force-refresh').hidden = !alive;
    this.#part('disconnect').hidden = !row;
    for (const [part, shown] of /** @type {[string, boolean][]} */ ([['life', alive], ['facts', row]])) {
      const element = /** @type {HTMLElement} */ (this.element.querySelector(`[data-part="${part}"]`));
      element.hidden = !shown;
    }
    if (!alive) this.#part('api-answer').hidden = true;
    this.#offerLogin();
    // Who pressed a button that is now gone finds the one that took its place.
    if (focused instanceof HTMLElement && focused.closest('[hidden]')) this.#part('connect').focus();
  }

  /** Shows the login link where a login is the next step. */
  #offerLogin() {
    const again = this.#state === 'reauthorization_required';
    const link = this.#part('connect');
    link.hidden = !(again || this.#state === 'not_connected' || this.#state === 'unknown' || this.#reauthSoon());
    setText(link, this.#connection ? 'Log in again' : 'Connect');
    link.classList.toggle('solid', again || !this.#connection);
  }

  /** @returns {boolean} whether the authorization itself ends within days */
  #reauthSoon() {
    const by = this.#connection?.reauth_by ?? null;
    return by !== null && by - this.#clock.now() < REAUTH_SOON_S;
  }

  #fillFacts() {
    const connection = this.#connection;
    const now = this.#clock.now();
    const hint = this.#part('hint');
    setText(hint, this.#state === 'reauthorization_required' ? reasonWords(connection?.reason ?? null) : STATES[this.#state].hint);
    hint.hidden = hint.textContent === '';
    if (!connection) return;
    for (const role of ['expires', 'next-refresh', 'reauth-by']) {
      const row = /** @type {HTMLElement} */ (this.#part(role).parentElement);
      row.hidden = connection.status !== 'active';
    }
    setText(this.#part('refresh-count'), String(this.#history.refreshes));
    const error = this.#part('last-error');
    setText(error, errorWords(connection.last_error, connection.attempts));
    error.dataset.tone = connection.last_error === null ? '' : 'bad';
    this.#fillCode('account', connection.account_id);
    this.#fillCode('scope', connection.scope);
    setText(this.#part('token-id'), connection.token_id);
    const by = connection.reauth_by;
    const reauth = this.#part('reauth-by');
    setText(reauth, by === null ? 'No fixed end' : `${instant(by, now)}, ${relative(by, now)}`);
    reauth.dataset.tone = this.#reauthSoon() ? 'warn' : '';
    this.#offerLogin();
  }

  /**
   * A word of the provider's in the type of code, or our own words where it said none.
   *
   * @param {string} role
   * @param {string | null} said
   */
  #fillCode(role, said) {
    const place = this.#part(role);
    place.classList.toggle('code', Boolean(said));
    setText(place, said || 'Not told');
  }

  /** Lets the countdown light up for a moment: a refresh has happened. */
  #flash() {
    const dial = this.#part('countdown');
    dial.classList.remove('renewed');
    // Reading a layout property between the two restarts the animation.
    dial.getBoundingClientRect();
    dial.classList.add('renewed');
  }

  /**
   * Runs one action at a time, and shows how it failed. The button stays focusable meanwhile.
   *
   * @param {string} role the button's
   * @param {() => Promise<void>} action
   */
  async #act(role, action) {
    if (this.#busy) return;
    this.#busy = true;
    const button = this.#part(role);
    const error = this.#part('error');
    button.setAttribute('aria-busy', 'true');
    error.hidden = true;
    try {
      await action();
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      setText(error, cause.words);
      error.hidden = false;
      announce(`${this.#provider.name}: ${cause.words}`);
    } finally {
      this.#busy = false;
      button.removeAttribute('aria-busy');
      this.#changed();
    }
  }

  /** What a frontend does: read the token, call the provider; on a 401 ask for a newer token and try once more. */
  async #callApi() {
    const { id, demo_url: demo } = this.#provider;
    let token = await this.#api.token(id);
    let answer = await this.#api.callProvider(id, token, demo);
    if (answer.status === UNAUTHORIZED) {
      token = await this.#api.refresh(id, token.token_id);
      answer = await this.#api.callProvider(id, token, demo);
    }
    const line = `${answer.status} from ${answer.host} in ${Math.round(answer.durationMs)} ms, with the token ${shortened(token.access_token)} and straight from this browser.`;
    this.#showAnswer(line, answer.body);
    announce(`${this.#provider.name}: ${answer.status} from the API.`);
  }

  async #forceRefresh() {
    const seen = this.#connection?.token_id ?? '';
    const token = await this.#api.refresh(this.#provider.id, seen);
    const line = token.token_id === seen ? 'The token was not replaced.' : `A new token, ${shortened(token.access_token)}, good for ${span(token.expires_in)}.`;
    this.#showAnswer(line, null);
    announce(`${this.#provider.name}: ${line}`);
  }

  async #disconnect() {
    await this.#api.disconnect(this.#provider.id);
  }

  /**
   * @param {string} line
   * @param {any} body its first plain fields are shown
   */
  #showAnswer(line, body) {
    const place = this.#part('api-answer');
    const fields = Object.entries(body ?? {})
      .filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))
      .slice(0, ANSWER_FIELDS_MAX)
      .map(([name, value]) => html('div', {}, html('dt', {}, name), html('dd', {}, String(value).slice(0, ANSWER_FIELD_CHARS_MAX))));
    place.replaceChildren(html('p', {}, line));
    if (fields.length > 0) place.append(html('dl', {}, ...fields));
    place.hidden = false;
  }
}
