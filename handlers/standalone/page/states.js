/** The states of a connection, each in words and as a shape: colour never carries the meaning alone. */

/** @typedef {'unknown' | 'not_connected' | 'fresh' | 'stale' | 'expired' | 'reauthorization_required'} StateName */

/**
 * @typedef {object} State
 * @property {string} label
 * @property {string} hint what it means for a reader of tokens; empty when there is nothing to say
 * @property {string} shape a path in a box of 16 × 16
 */

const RING = 'M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13zm0 1.6a4.9 4.9 0 1 0 0 9.8a4.9 4.9 0 0 0 0-9.8z';
const DISC_WITH_TICK = 'M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm3.2 4.2L7 9.4 4.8 7.2l-1.1 1.1L7 11.6l5.3-5.3z';
const TRIANGLE = 'M8 1.2l7.2 13H.8zm-.8 4.6v4.6h1.6V5.8zm0 5.6v1.6h1.6v-1.6z';
const SQUARE_WITH_CROSS = 'M2 2h12v12H2zm3.6 2.5L4.5 5.6 6.9 8l-2.4 2.4 1.1 1.1L8 9.1l2.4 2.4 1.1-1.1L9.1 8l2.4-2.4-1.1-1.1L8 6.9z';
const DIAMOND = 'M8 .6L15.4 8 8 15.4.6 8zm-.8 3.6v4.6h1.6V4.2zm0 5.8v1.6h1.6V10z';

/** @type {Record<StateName, State>} */
export const STATES = {
  unknown: { label: 'Asking…', hint: '', shape: RING },
  not_connected: { label: 'Not connected', hint: '', shape: RING },
  fresh: { label: 'Fresh', hint: '', shape: DISC_WITH_TICK },
  stale: { label: 'Stale', hint: 'The token still works, but its refresh is late. Readers are served, and each read urges it on.', shape: TRIANGLE },
  expired: { label: 'Expired', hint: 'The token has run out. The next read waits up to three seconds for a new one.', shape: SQUARE_WITH_CROSS },
  reauthorization_required: { label: 'Reauthorization required', hint: '', shape: DIAMOND },
};

/** @type {Record<string, string>} */
const REASONS = {
  refused: 'The provider no longer accepts this authorization: it was revoked there, or it has ended.',
  interrupted_rotation: 'An answer with a new refresh token was lost on the way, and the provider accepts the old one only once.',
  no_refresh_token: 'The provider gave no refresh token, and the access token has run out.',
};

/** @type {Record<string, string>} */
const ERRORS = {
  throttled: 'Provider asks for patience',
  unavailable: 'Provider unavailable',
  misconfigured: 'Client credentials refused',
  foreign_issuer: 'Connected through another registration',
  budget_exhausted: 'Own limit of calls reached',
  circuit_open: 'Provider known to be down',
  not_sent: 'Not sent: something was missing here',
};

/**
 * Which state a connection is in.
 *
 * @param {import('./api.js').Connection | null} connection
 * @returns {StateName}
 */
export function stateOf(connection) {
  if (!connection) return 'not_connected';
  if (connection.status === 'reauthorization_required') return 'reauthorization_required';
  return connection.state && connection.state in STATES ? connection.state : 'unknown';
}

/**
 * Why the user must log in again, as a sentence.
 *
 * @param {string | null} reason
 * @returns {string}
 */
export function reasonWords(reason) {
  if (reason === null) return 'The provider asks for a new login.';
  return REASONS[reason] ?? `The provider asks for a new login (${reason}).`;
}

/**
 * The last failure in words.
 *
 * @param {string | null} error its class
 * @param {number} attempts failures in a row
 * @returns {string}
 */
export function errorWords(error, attempts) {
  if (error === null) return 'None';
  const words = ERRORS[error] ?? error;
  return attempts > 1 ? `${words}, ${attempts} times in a row` : words;
}
