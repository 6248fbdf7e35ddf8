/**
 * The backend's HTTP contract, the provider's API, and the sandbox's fault switches, as this page calls them.
 * Every exchange is written into the journal, with every token cut short before it gets there.
 */

import * as snippet from './snippet.js';

/** How long any answer may take, ms. Longer than the backend's own longest wait (3 s) and a provider's slow day. */
const DEADLINE_MS = 12_000;

/** SHA-256 of the empty body: a signed CloudFront origin demands it on POST and DELETE, elsewhere it is ignored. */
const EMPTY_BODY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** How much of a secret may be shown, characters: enough to see that it changed. */
const SHOWN_OF_SECRET = 4;

/** How many calls a fault is armed for. */
const FAULT_TIMES = 3;

/**
 * @typedef {object} OfferedProvider
 * @property {string} id as in paths
 * @property {string} name for people
 * @property {boolean} sandbox
 * @property {string | null} demo_url the demonstration call: the provider's own "who am I"; null where it has none
 */

/**
 * @typedef {object} Info
 * @property {string} product
 * @property {string} version
 * @property {string} engine
 * @property {number} speed server seconds per second
 * @property {number} now Unix seconds
 * @property {string} public_url
 * @property {string | null} sandbox_url
 * @property {OfferedProvider[]} providers
 */

/**
 * @typedef {object} Connection instants in Unix seconds, lifetime in seconds
 * @property {string} provider
 * @property {'active' | 'reauthorization_required'} status
 * @property {'fresh' | 'stale' | 'expired' | null} state of the token; `null` when there is none
 * @property {string} token_id
 * @property {string | null} account_id
 * @property {string | null} scope
 * @property {number | null} issued_at
 * @property {number | null} expires_at
 * @property {number | null} lifetime
 * @property {number | null} next_refresh_at
 * @property {number} attempts failed refreshes in a row
 * @property {string | null} last_error class of the last failure
 * @property {string | null} reason why a new authorization is needed
 * @property {number | null} reauth_by when the user's authorization itself ends
 * @property {number} connected_at
 * @property {number} updated_at
 */

/**
 * @typedef {object} Token
 * @property {string} access_token
 * @property {string} token_id
 * @property {number} expires_at
 * @property {number} expires_in
 * @property {'fresh' | 'stale'} state
 * @property {{base_url: string, headers: Record<string, string>}} api
 */

/** A backend's `application/problem+json`, or what stands in for one when no answer came. */
export class Problem extends Error {
  /**
   * @param {string} title
   * @param {{status?: number, code?: string, detail?: string, retryAfter?: number | null}} [members]
   */
  constructor(title, { status = 0, code = 'unreachable', detail = '', retryAfter = null } = {}) {
    super(title);
    this.name = 'Problem';
    /** HTTP status; 0 when there was no answer. */
    this.status = status;
    /** Machine-readable code of the problem. */
    this.code = code;
    /** What to do about it. */
    this.detail = detail;
    /** Seconds to wait before asking again, if the server said so. */
    this.retryAfter = retryAfter;
  }

  /** One sentence or two for a person. */
  get words() {
    const sentence = this.message.endsWith('.') ? this.message : `${this.message}.`;
    const wait = this.retryAfter === null ? '' : ` Try again in ${this.retryAfter} s.`;
    return `${sentence}${this.detail ? ` ${this.detail}` : ''}${wait}`;
  }
}

/**
 * @typedef {object} Exchange
 * @property {Response} response
 * @property {any} body the parsed JSON; `null` when there was none
 * @property {number} sentMs on the browser's monotonic clock
 * @property {number} receivedMs same clock
 */

/**
 * Cuts a secret to its first characters.
 *
 * @param {string} secret
 * @returns {string}
 */
export function shortened(secret) {
  return `${secret.slice(0, SHOWN_OF_SECRET)}…`;
}

/**
 * The body with every occurrence of its own access token cut short: in its field, and inside ready-made headers.
 *
 * @param {any} body parsed JSON
 * @returns {any}
 */
function withoutSecrets(body) {
  const secrets = /** @type {string[]} */ ([]);
  JSON.stringify(body, (key, value) => {
    if (key === 'access_token' && typeof value === 'string' && value !== '') secrets.push(value);
    return value;
  });
  const cut = (/** @type {string} */ text) => secrets.reduce((rest, secret) => rest.replaceAll(secret, shortened(secret)), text);
  return JSON.parse(JSON.stringify(body, (_, value) => (typeof value === 'string' ? cut(value) : value)));
}

/**
 * The answer's JSON, or `null`: what is not JSON is of no use here and is never shown.
 *
 * @param {Response} response
 * @returns {Promise<any>}
 */
async function parsed(response) {
  const type = response.headers.get('content-type') ?? '';
  if (!/[/+]json\b/.test(type)) return null;
  try {
    return await response.json();
  } catch {
    return null;
  }
}

/**
 * @param {Response} response
 * @param {any} body
 * @returns {Problem}
 */
function problemOf(response, body) {
  const said = body ?? {};
  const header = Number(response.headers.get('retry-after'));
  const seconds = typeof said.retry_after === 'number' ? said.retry_after : header;
  return new Problem(said.title ?? `The server answered ${response.status}`, {
    status: response.status,
    code: said.code ?? 'unknown',
    detail: said.detail ?? '',
    retryAfter: seconds > 0 ? seconds : null,
  });
}

/** Sends requests and keeps the journal of them. */
export class Api {
  /** @type {import('./journal.js').Journal} */
  #journal;
  #sandboxUrl = '';

  /** @param {import('./journal.js').Journal} journal */
  constructor(journal) {
    this.#journal = journal;
  }

  /** @param {string | null} url where the sandbox answers, if there is one */
  set sandboxUrl(url) {
    this.#sandboxUrl = url ?? '';
  }

  /**
   * What this server is and offers.
   *
   * @returns {Promise<{info: Info, sentMs: number, receivedMs: number}>}
   * @throws {Problem}
   */
  async info() {
    const { body, sentMs, receivedMs } = await this.#backend('GET', '/dev/info');
    return { info: body, sentMs, receivedMs };
  }

  /**
   * The user's connections.
   *
   * @returns {Promise<{now: number, connections: Connection[], sentMs: number, receivedMs: number}>}
   * @throws {Problem} with status 401 when there is no session
   */
  async connections() {
    const { body, sentMs, receivedMs } = await this.#backend('GET', '/auth/connections', { repeats: true });
    return { now: body.now, connections: body.connections, sentMs, receivedMs };
  }

  /**
   * A living access token.
   *
   * @param {string} provider
   * @returns {Promise<Token>}
   * @throws {Problem}
   */
  async token(provider) {
    return (await this.#backend('GET', `/auth/${provider}/token`)).body;
  }

  /**
   * A newer token than the one seen.
   *
   * @param {string} provider
   * @param {string} seen id of the token that is not good enough
   * @returns {Promise<Token>}
   * @throws {Problem}
   */
  async refresh(provider, seen) {
    return (await this.#backend('POST', `/auth/${provider}/refresh?seen=${encodeURIComponent(seen)}`)).body;
  }

  /**
   * @param {string} provider
   * @throws {Problem}
   */
  async disconnect(provider) {
    await this.#backend('DELETE', `/auth/${provider}`);
  }

  /**
   * @param {boolean} everywhere every session of the user, not only this one
   * @throws {Problem}
   */
  async logout(everywhere) {
    await this.#backend('POST', everywhere ? '/auth/logout?everywhere=1' : '/auth/logout');
  }

  /** @throws {Problem} */
  async deleteUser() {
    await this.#backend('DELETE', '/auth/user');
  }

  /**
   * Calls the provider's API straight from the browser, as a frontend does: the backend takes no part in it.
   *
   * @param {string} provider
   * @param {Token} token
   * @param {string | null} demo the address to call; the API's base URL where there is none
   * @returns {Promise<{status: number, body: any, host: string, durationMs: number}>}
   * @throws {Problem} when no answer came
   */
  async callProvider(provider, token, demo) {
    const { base_url: base, headers } = token.api;
    const url = demo ?? base;
    const path = url.startsWith(base) ? url.slice(base.length) : null;
    const exchange = await this.#exchange(url, { headers, credentials: 'omit' }, {
      label: url,
      code: snippet.providerCall(provider, path, url),
    });
    return {
      status: exchange.response.status,
      body: exchange.body,
      host: new URL(url).host,
      durationMs: exchange.receivedMs - exchange.sentMs,
    };
  }

  /**
   * Arms a fault at the sandbox's token endpoint for the next calls.
   *
   * @param {string} provider
   * @param {Record<string, unknown>} fault its kind and the kind's own settings
   * @throws {Problem}
   */
  async armFault(provider, fault) {
    await this.#sandbox('POST', '/_sandbox/faults', { provider, endpoint: 'token', ...fault, times: FAULT_TIMES });
  }

  /**
   * Takes back every fault of one provider.
   *
   * @param {string} provider
   * @throws {Problem}
   */
  async clearFaults(provider) {
    await this.#sandbox('DELETE', `/_sandbox/faults?provider=${encodeURIComponent(provider)}`, null);
  }

  /**
   * Does what a user does on the provider's own "connected apps" page: takes the authorization back.
   *
   * @param {string} provider
   * @param {string} account
   * @throws {Problem}
   */
  async revokeAtProvider(provider, account) {
    await this.#sandbox('POST', '/_sandbox/grants/revoke', { provider, account });
  }

  /**
   * @param {'POST' | 'DELETE'} method
   * @param {string} path
   * @param {Record<string, unknown> | null} body
   */
  async #sandbox(method, path, body) {
    const url = this.#sandboxUrl + path;
    /** @type {RequestInit} */
    const init = { method, credentials: 'omit' };
    if (body) Object.assign(init, { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    const exchange = await this.#exchange(url, init, { label: url, code: snippet.sandboxCall(url, method, body) });
    if (!exchange.response.ok) throw problemOf(exchange.response, exchange.body);
  }

  /**
   * @param {'GET' | 'POST' | 'DELETE'} method
   * @param {string} path
   * @param {{repeats?: boolean}} [options] `repeats`: one line in the journal for all calls with the same outcome
   * @returns {Promise<Exchange>}
   */
  async #backend(method, path, { repeats = false } = {}) {
    /** @type {Record<string, string>} */
    const headers = { 'X-MultiMusic-Client': '1' };
    if (method !== 'GET') headers['x-amz-content-sha256'] = EMPTY_BODY_SHA256;
    const init = /** @type {RequestInit} */ ({ method, headers, credentials: 'same-origin', cache: 'no-store' });
    const exchange = await this.#exchange(path, init, { label: path, code: snippet.backendCall(method, path, headers), repeats });
    if (!exchange.response.ok) throw problemOf(exchange.response, exchange.body);
    if (exchange.response.status !== 204 && exchange.body === null) {
      throw new Problem('The backend answered something that is not JSON', { status: exchange.response.status, code: 'not_json' });
    }
    return exchange;
  }

  /**
   * @param {string} url
   * @param {RequestInit} init
   * @param {{label: string, code: string, repeats?: boolean}} line what the journal says about it
   * @returns {Promise<Exchange>}
   */
  async #exchange(url, init, { label, code, repeats = false }) {
    const method = init.method ?? 'GET';
    const sentMs = performance.now();
    try {
      const response = await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(DEADLINE_MS) });
      const body = await parsed(response);
      const receivedMs = performance.now();
      const answer = body === null ? null : withoutSecrets(body);
      this.#journal.add({ method, path: label, status: response.status, durationMs: receivedMs - sentMs, code, answer, repeats });
      return { response, body, sentMs, receivedMs };
    } catch (cause) {
      this.#journal.add({ method, path: label, status: 0, durationMs: performance.now() - sentMs, code, answer: null, repeats });
      const late = cause instanceof DOMException && cause.name === 'TimeoutError';
      const title = late ? 'No answer in time' : 'No answer: the server cannot be reached, or the browser refused to ask';
      throw new Problem(title, { code: late ? 'timeout' : 'unreachable' });
    }
  }
}
