/** The page put together: one poll feeds the cards, one ticker moves them on. */

import { Api, Problem } from './api.js';
import { showOutcome, takeOutcome } from './banner.js';
import { Card } from './card.js';
import { ServerClock } from './clock.js';
import { announce, byId, byRole, html, setText } from './dom.js';
import { Journal } from './journal.js';
import { Poll } from './poll.js';
import { SessionPanel } from './session.js';
import { timeOfDay } from './timewords.js';

/** Pause between two polls, ms. */
const POLL_MS = 1_000;

/** Pause after an error, or while there is no session, ms. */
const IDLE_POLL_MS = 5_000;

/** How often the countdowns move, ms: fine enough for whole seconds to fall evenly. */
const TICK_MS = 250;

const UNAUTHORIZED = 401;

const clock = new ServerClock();
const api = new Api(new Journal(byId('journal')));
const outcome = takeOutcome();
/** @type {Map<string, Card>} */
const cards = new Map();
const poll = new Poll(ask);
const session = new SessionPanel(api, () => poll.kick());
/** @type {import('./api.js').Info | null} */
let info = null;

/**
 * One round: what the server is (until known), then the connections.
 *
 * @returns {Promise<number>} the pause until the next, ms
 */
async function ask() {
  try {
    if (!info) introduce(await api.info());
    const answer = await api.connections();
    clock.observe(answer.now, answer.sentMs, answer.receivedMs);
    show(answer.connections);
    tell(null);
    return POLL_MS;
  } catch (cause) {
    if (!(cause instanceof Problem)) throw cause;
    if (info && cause.status === UNAUTHORIZED) {
      show(null);
      tell(null);
      return IDLE_POLL_MS;
    }
    tell(cause);
    return Math.max(IDLE_POLL_MS, (cause.retryAfter ?? 0) * 1000);
  }
}

/** @param {{info: import('./api.js').Info, sentMs: number, receivedMs: number}} answer */
function introduce({ info: said, sentMs, receivedMs }) {
  info = said;
  clock.speed = said.speed;
  clock.observe(said.now, sentMs, receivedMs);
  api.sandboxUrl = said.sandbox_url;
  const about = byId('about');
  setText(byRole(about, 'engine'), said.engine);
  setText(byRole(about, 'version'), said.version);
  setText(byRole(about, 'speed'), said.speed === 1 ? 'real time' : `${said.speed} × real time`);
  const providers = said.providers.map(withBareName);
  for (const provider of providers) addCard(provider);
  const links = byId('links');
  if (said.sandbox_url) links.append(html('li', {}, html('a', { href: said.sandbox_url }, 'Sandbox provider')));
  if (outcome) showOutcome(byId('banner'), outcome, providers);
}

/**
 * A sandbox's name without the remark that it is one: the card has a tag for that.
 *
 * @param {import('./api.js').OfferedProvider} provider
 * @returns {import('./api.js').OfferedProvider}
 */
function withBareName(provider) {
  return provider.sandbox ? { ...provider, name: provider.name.replace(/\s*\(sandbox\)$/i, '') } : provider;
}

/** @param {import('./api.js').OfferedProvider} provider */
function addCard(provider) {
  const card = new Card(provider, { api, clock, faults: Boolean(info?.sandbox_url), changed: () => poll.kick() });
  cards.set(provider.id, card);
  byId('cards').append(card.element);
}

/** @param {import('./api.js').Connection[] | null} connections `null`: there is no session */
function show(connections) {
  const known = connections ?? [];
  for (const { provider } of known) {
    // A connection outlives its provider's place in the configuration, and must still be seen and cut.
    if (!cards.has(provider)) addCard({ id: provider, name: provider, sandbox: false, demo_url: null });
  }
  for (const [id, card] of cards) card.update(known.find(({ provider }) => provider === id) ?? null);
  byId('start').hidden = known.length > 0;
  byId('start-sandbox').hidden = !info?.providers.some(({ sandbox }) => sandbox);
  session.show(connections !== null, known.length);
}

/** @param {Problem | null} problem what keeps the page from knowing more */
function tell(problem) {
  const trouble = byId('trouble');
  if (problem && trouble.hidden) announce('The backend does not answer as it should.');
  trouble.hidden = problem === null;
  setText(trouble, problem ? `The backend does not answer as it should. ${problem.words} What is shown may be out of date; this page keeps asking.` : '');
  setText(byId('link-status'), problem ? 'Lost touch with the backend.' : 'In touch with the backend; asks once a second while this tab is visible.');
}

function tick() {
  if (document.visibilityState !== 'visible' || !clock.known) return;
  setText(byRole(byId('about'), 'server-time'), timeOfDay(clock.now()));
  for (const card of cards.values()) card.tick();
}

setInterval(tick, TICK_MS);
addEventListener('pagehide', () => cards.forEach((card) => card.save()));
poll.kick();
