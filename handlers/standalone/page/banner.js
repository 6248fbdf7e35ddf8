/** What a login ended with, told once after the provider has sent the browser back. */

import { html } from './dom.js';

/**
 * @typedef {object} Outcome
 * @property {(name: string) => string} title
 * @property {string} text
 * @property {{label: string, query: string}[]} offers ways on: the same login with these parameters
 */

const AGAIN = { label: 'Try again', query: '' };

/** The callback's closed list of codes. @type {Record<string, Outcome>} */
const OUTCOMES = {
  access_denied: {
    title: (name) => `${name} was not connected: access was denied.`,
    text: 'You, or the provider, said no on the consent page. Nothing was stored.',
    offers: [AGAIN],
  },
  login_expired: {
    title: (name) => `The login at ${name} took too long.`,
    text: 'A login must be finished within ten minutes, and only once. Nothing was stored.',
    offers: [AGAIN],
  },
  login_other_browser: {
    title: (name) => `The login at ${name} was started in another browser.`,
    text: 'It can be finished only where it began; otherwise somebody could slip you their account. Start again here.',
    offers: [{ label: 'Start again here', query: '' }],
  },
  account_in_use: {
    title: (name) => `This ${name} account already belongs to another user here.`,
    text: 'If that is you, sign in as that user: this browser’s session changes to it. Or move the account to the session you have now; the other one loses it.',
    offers: [
      { label: 'Sign in as that account’s user', query: '&on_conflict=switch' },
      { label: 'Move it here', query: '&on_conflict=move' },
    ],
  },
  account_mismatch: {
    title: (name) => `You came back with a different ${name} account.`,
    text: 'The account that is connected now was left as it is. You can replace it: its authorization is then revoked.',
    offers: [{ label: 'Replace the connected account', query: '&replace=1' }, { label: 'Try with the same account', query: '' }],
  },
  provider_unavailable: {
    title: (name) => `${name} could not be reached to finish the login.`,
    text: 'It answered late, wrongly or not at all. Nothing was stored; try again in a minute.',
    offers: [AGAIN],
  },
  provider_refused: {
    title: (name) => `${name} refused to finish the login.`,
    text: 'It did not accept this login. Nothing was stored; start again.',
    offers: [AGAIN],
  },
  not_configured: {
    title: (name) => `${name} is not set up properly on this server.`,
    text: 'Its client id and secret are missing, or the provider refuses them: they must be in the server’s environment, as SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET are for Spotify.',
    offers: [],
  },
};

/** @type {Outcome} */
const UNKNOWN = { title: (name) => `The login at ${name} did not work.`, text: 'The server gave no reason that this page knows.', offers: [AGAIN] };

/** What the callback adds to the address. */
const PARAMETERS = ['mm_result', 'mm_provider', 'mm_code'];

/**
 * Reads the outcome from the address and takes it out of there, so that a reload does not tell it again.
 *
 * @returns {{result: string, provider: string | null, code: string | null} | null}
 */
export function takeOutcome() {
  const url = new URL(location.href);
  const result = url.searchParams.get('mm_result');
  const provider = url.searchParams.get('mm_provider');
  const code = url.searchParams.get('mm_code');
  if (result === null) return null;
  for (const name of PARAMETERS) url.searchParams.delete(name);
  history.replaceState(null, '', url);
  return { result, provider, code };
}

/**
 * Shows the outcome. The address is anybody's to write: nothing of it is shown, it only chooses among our own words.
 *
 * @param {HTMLElement} place where the banner goes
 * @param {NonNullable<ReturnType<typeof takeOutcome>>} outcome
 * @param {import('./api.js').OfferedProvider[]} providers
 */
export function showOutcome(place, { result, provider: id, code }, providers) {
  const provider = providers.find((offered) => offered.id === id);
  const name = provider?.name ?? 'the provider';
  const connected = result === 'connected';
  const known = code !== null && Object.hasOwn(OUTCOMES, code) ? OUTCOMES[code] : UNKNOWN;
  const title = connected ? `${name} is connected.` : known.title(name);
  const text = connected ? 'From now on its token is renewed before it expires.' : known.text;

  const dismiss = html('button', { type: 'button', class: 'quiet', 'data-role': 'dismiss' }, 'Dismiss');
  const actions = html('p', { class: 'buttons' });
  if (provider && !connected) {
    for (const { label, query } of known.offers) {
      const href = `/auth/${encodeURIComponent(provider.id)}/login?return_to=${encodeURIComponent(`${location.origin}/`)}${query}`;
      actions.append(html('a', { class: 'button', href, 'data-role': 'offer' }, label));
    }
  }
  actions.append(dismiss);
  const banner = html(
    'div',
    { class: 'notice banner', 'data-tone': connected ? 'good' : 'bad', 'data-code': connected ? 'connected' : (code ?? 'unknown') },
    html('p', { class: 'banner-title' }, title.charAt(0).toUpperCase() + title.slice(1)),
    html('p', {}, text),
    actions,
  );
  dismiss.addEventListener('click', () => {
    banner.remove();
    document.getElementById('connections-title')?.focus();
  });
  place.replaceChildren(banner);
}
