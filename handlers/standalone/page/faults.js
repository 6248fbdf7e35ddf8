/** The sandbox's misbehaviour as switches, one set per sandbox provider. */

import { announce, byRole, fromTemplate, html, setText } from './dom.js';
import { Problem } from './api.js';

/** How slow "slow" is, ms: noticeable, and below the backend's deadline for a provider. */
const SLOW_MS = 5_000;

/** How long a throttled client is told to wait, seconds. */
const RETRY_AFTER_S = 30;

/**
 * @typedef {object} Kind
 * @property {string} label
 * @property {string} meaning what it shows
 * @property {Record<string, unknown>} fault as the sandbox wants it
 */

/** @type {Kind[]} */
const KINDS = [
  { label: 'HTML 403', meaning: 'A firewall’s page instead of an answer. Not a revocation: nobody is logged out.', fault: { kind: 'html_403' } },
  { label: 'Throttle', meaning: `429 with Retry-After: the refresh waits ${RETRY_AFTER_S} s.`, fault: { kind: 'throttle', retry_after: RETRY_AFTER_S } },
  { label: 'Fail before', meaning: '503 before anything is spent: a retry is safe.', fault: { kind: 'error_5xx_before' } },
  { label: 'Cut off after', meaning: 'The refresh token is spent, the answer never arrives. With strict rotation the authorization dies.', fault: { kind: 'reset_after' } },
  { label: 'Slow', meaning: `An answer after ${SLOW_MS / 1000} s: readers of a living token do not wait for it.`, fault: { kind: 'slow', ms: SLOW_MS } },
];

/**
 * The switches for one provider.
 *
 * @param {import('./api.js').Api} api
 * @param {import('./api.js').OfferedProvider} provider
 * @param {() => string | null} account the connected account, if there is one
 * @returns {HTMLElement} a closed `details`
 */
export function faultSwitches(api, provider, account) {
  const details = fromTemplate('faults-template');
  const result = byRole(details, 'fault-result');

  /**
   * @param {() => Promise<void>} action
   * @param {string} done
   */
  const attempt = async (action, done) => {
    try {
      await action();
      setText(result, done);
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      setText(result, cause.words);
    }
    announce(result.textContent ?? '');
  };

  /**
   * @param {HTMLButtonElement} button
   * @param {string} meaning
   */
  const offer = (button, meaning) => byRole(details, 'kinds').append(html('li', {}, button, html('span', {}, meaning)));

  for (const { label, meaning, fault } of KINDS) {
    const button = html('button', { type: 'button', 'data-fault': String(fault.kind) }, label);
    button.addEventListener('click', () =>
      attempt(() => api.armFault(provider.id, fault), `Armed: ${label}, for the next three calls.`),
    );
    offer(button, meaning);
  }
  const revoke = html('button', { type: 'button', 'data-role': 'revoke-at-provider' }, 'Revoke there');
  revoke.addEventListener('click', () => {
    const whose = account();
    if (whose === null) setText(result, 'Connect an account first.');
    else attempt(() => api.revokeAtProvider(provider.id, whose), 'The account has taken its authorization back.');
  });
  offer(revoke, 'The user takes the authorization back on the provider’s own pages. The next refresh finds out.');
  byRole(details, 'clear-faults').addEventListener('click', () =>
    attempt(() => api.clearFaults(provider.id), 'All faults of this provider are cleared.'),
  );
  return details;
}
