/**
 * What this tab has seen of a connection: the tokens one after the other, and the failures between them.
 *
 * A token's life is a straight line from issue to expiry, so two instants per token draw the whole curve; no samples are
 * kept. Nothing in here is secret: a token's id is not the token.
 */

/** How many tokens are remembered per connection: at one a minute some three hours, and a few kB of session storage. */
const TOKENS_MAX = 200;

/** How many failures are remembered per connection. */
const FAULTS_MAX = 200;

/**
 * How long a token may go unseen, in browser seconds, before its line is broken off instead of joined to the next one's:
 * a few polls' time, so that what happened while the tab slept is not invented.
 */
const GAP_S = 12;

/** @typedef {{id: string, issuedAt: number, expiresAt: number, seenUntil: number}} SeenToken all in Unix seconds */

/** @typedef {{at: number, kind: string}} SeenFault */

/** @typedef {{connectedAt: number, account: string | null, attempts: number, tokens: SeenToken[], faults: SeenFault[]}} Memory */

/** @type {Memory} */
const NOTHING = { connectedAt: 0, account: null, attempts: 0, tokens: [], faults: [] };

/** One provider's past, kept over navigations of this tab (a login is one). */
export class History {
  /** @type {string} */
  #key;
  /** @type {Memory} */
  #memory;

  /** @param {string} provider */
  constructor(provider) {
    this.#key = `multimusic.history.${provider}`;
    this.#memory = this.#load();
  }

  /** @returns {readonly SeenToken[]} oldest first */
  get tokens() {
    return this.#memory.tokens;
  }

  /** @returns {readonly SeenFault[]} oldest first */
  get faults() {
    return this.#memory.faults;
  }

  /** @returns {number} how often one token was seen to follow another */
  get refreshes() {
    return Math.max(0, this.#memory.tokens.length - 1);
  }

  /**
   * Takes note of what the backend says of the connection.
   *
   * @param {import('./api.js').Connection} connection
   * @param {number} now server time
   * @param {number} speed server seconds per browser second
   * @returns {{refreshed: boolean, failed: boolean}} what is new since the last time
   */
  observe(connection, now, speed) {
    const happened = { refreshed: false, failed: false };
    if (connection.connected_at !== this.#memory.connectedAt || connection.account_id !== this.#memory.account) {
      const { connected_at: connectedAt, account_id: account, attempts } = connection;
      this.#memory = { connectedAt, account, attempts, tokens: [], faults: [] };
    }
    const memory = this.#memory;
    if (connection.status === 'active' && connection.issued_at !== null && connection.expires_at !== null) {
      happened.refreshed = this.#observeToken(connection.token_id, connection.issued_at, connection.expires_at, now, speed);
    }
    if (connection.attempts > memory.attempts) {
      memory.faults.push({ at: now, kind: connection.last_error ?? 'unknown' });
      memory.faults.splice(0, memory.faults.length - FAULTS_MAX);
      happened.failed = true;
    }
    memory.attempts = connection.attempts;
    if (happened.refreshed || happened.failed || memory.tokens.length === 1) this.save();
    return happened;
  }

  /** Forgets everything: the connection is gone. */
  clear() {
    if (this.#memory.tokens.length === 0) return;
    this.#memory = { ...NOTHING, tokens: [], faults: [] };
    this.save();
  }

  /** Writes the memory down for this tab's next page. Storage that is full or forbidden costs the past, nothing else. */
  save() {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(this.#memory));
    } catch {
      // The curve starts anew after a reload then.
    }
  }

  /**
   * @param {string} id
   * @param {number} issuedAt
   * @param {number} expiresAt
   * @param {number} now
   * @param {number} speed
   * @returns {boolean} whether this token follows another
   */
  #observeToken(id, issuedAt, expiresAt, now, speed) {
    const { tokens } = this.#memory;
    const last = tokens.at(-1);
    if (last?.id === id) {
      last.seenUntil = Math.max(last.seenUntil, now);
      return false;
    }
    if (last && issuedAt - last.seenUntil <= GAP_S * speed) last.seenUntil = Math.max(last.seenUntil, issuedAt);
    tokens.push({ id, issuedAt, expiresAt, seenUntil: now });
    tokens.splice(0, tokens.length - TOKENS_MAX);
    return last !== undefined;
  }

  /** @returns {Memory} */
  #load() {
    try {
      const memory = JSON.parse(sessionStorage.getItem(this.#key) ?? 'null');
      if (Array.isArray(memory?.tokens) && Array.isArray(memory?.faults)) return memory;
    } catch {
      // Unreadable: as if there were none.
    }
    return { ...NOTHING, tokens: [], faults: [] };
  }
}
