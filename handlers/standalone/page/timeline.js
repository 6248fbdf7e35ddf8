/**
 * The life of a connection's tokens over time, drawn as SVG: a line that falls one second per second and jumps up at each
 * refresh. Past is solid, what is planned is dashed.
 */

import { html, setText, svg } from './dom.js';
import { countdown, oneUnit, plural, span } from './timewords.js';

/** Height of the drawing, CSS px. */
const HEIGHT = 190;

/** Room around the plot for the labels, CSS px. */
const PAD = { top: 16, right: 28, bottom: 26, left: 52 };

/** How far back the drawing looks, in token lifetimes: a short past fills the drawing too, a long one shows several teeth. */
const PAST = { least: 0.5, most: 2.5, step: 0.5 };

/** How far ahead it looks, in token lifetimes. */
const FUTURE = 1;

/** Least room for a label on the time axis, CSS px. */
const TICK_PX = 74;

/** Below this width the margin's label is only its name, CSS px. */
const NARROW_PX = 440;

/** Distances between labels on the time axis, seconds. */
const TICKS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];

/** Relations of the refresh margin to a token's lifetime, seconds; see `margin` in the model's wheel. */
const MARGIN = { less: 30, least: 90, most: 900 };

/**
 * How much life a refresh leaves unused at least: a sixth of the lifetime less half a minute, within bounds, and for very
 * short tokens half the lifetime. The backend decides; this repeats its rule only to draw the line.
 *
 * @param {number} lifetime seconds
 * @returns {number} seconds
 */
export function margin(lifetime) {
  const usual = Math.min(Math.max(lifetime / 6 - MARGIN.less, MARGIN.least), MARGIN.most);
  return Math.floor(Math.min(usual, lifetime / 2));
}

/**
 * @typedef {object} Scene
 * @property {string} name the provider's, for the text alternative
 * @property {number} now server time
 * @property {number} expiresAt
 * @property {number} lifetime
 * @property {number | null} nextRefreshAt
 * @property {import('./history.js').History} history
 */

/**
 * @typedef {object} Scale
 * @property {number} from first instant shown
 * @property {number} until last instant shown
 * @property {number} top greatest life shown, seconds
 * @property {(at: number) => number} x
 * @property {(life: number) => number} y
 */

/**
 * @param {Scene} scene
 * @param {number} width CSS px
 * @returns {Scale}
 */
function scaleOf({ now, lifetime, history }, width) {
  const age = (now - (history.tokens[0]?.issuedAt ?? now)) / lifetime;
  const past = Math.min(Math.max(Math.ceil(age / PAST.step) * PAST.step, PAST.least), PAST.most) * lifetime;
  const [from, until] = [now - past, now + FUTURE * lifetime];
  const shown = history.tokens.filter((token) => token.seenUntil >= from);
  const top = Math.max(lifetime, ...shown.map((token) => token.expiresAt - token.issuedAt));
  const [w, h] = [width - PAD.left - PAD.right, HEIGHT - PAD.top - PAD.bottom];
  return {
    from,
    until,
    top,
    x: (at) => PAD.left + ((at - from) / (until - from)) * w,
    y: (life) => PAD.top + (1 - Math.min(Math.max(life / top, 0), 1)) * h,
  };
}

/**
 * @param {number} n
 */
const px = (n) => n.toFixed(1);

/**
 * One token's line, from the left edge or its issue to where it was last seen, flat at zero once it has run out.
 *
 * @param {import('./history.js').SeenToken} token
 * @param {number} end until when to draw it
 * @param {Scale} scale
 * @returns {[number, number][]} points in px; none when the token lies outside
 */
function pointsOf(token, end, scale) {
  const start = Math.max(token.issuedAt, scale.from);
  if (end <= start) return [];
  const instants = [start, ...(token.expiresAt > start && token.expiresAt < end ? [token.expiresAt] : []), end];
  return instants.map((at) => [scale.x(at), scale.y(token.expiresAt - at)]);
}

/**
 * @param {[number, number][]} points
 * @param {boolean} joined whether the line comes from the token before
 */
const lineOf = (points, joined) => points.map(([x, y], i) => `${i === 0 && !joined ? 'M' : 'L'}${px(x)} ${px(y)}`).join('');

/**
 * The past: a filled curve with a dot at each refresh.
 *
 * @param {Scene} scene
 * @param {Scale} scale
 * @returns {SVGElement[]}
 */
function past({ now, history }, scale) {
  let line = '';
  let area = '';
  const dots = /** @type {SVGElement[]} */ ([]);
  const floor = px(scale.y(0));
  history.tokens.forEach((token, i) => {
    const before = history.tokens[i - 1];
    const follows = before !== undefined && before.seenUntil >= token.issuedAt;
    // The present token's line goes on between two polls, as its countdown does.
    const points = pointsOf(token, i === history.tokens.length - 1 ? now : token.seenUntil, scale);
    if (points.length === 0) return;
    const [first, last] = [points[0], points[points.length - 1]];
    line += lineOf(points, follows && line !== '');
    area += `M${px(first[0])} ${floor}${lineOf(points, true)}L${px(last[0])} ${floor}Z`;
    if (before !== undefined && token.issuedAt >= scale.from) {
      dots.push(svg('circle', { class: 'refreshed', cx: px(first[0]), cy: px(first[1]), r: 3.5 }));
    }
  });
  return [svg('path', { class: 'area', d: area }), svg('path', { class: 'life', d: line }), ...dots];
}

/**
 * What is planned: the present token falling on, and the jump at its next refresh.
 *
 * @param {Scene} scene
 * @param {Scale} scale
 * @returns {SVGElement[]}
 */
function plan({ now, expiresAt, lifetime, nextRefreshAt }, scale) {
  const refreshAt = nextRefreshAt !== null && nextRefreshAt > now ? nextRefreshAt : null;
  const end = Math.min(refreshAt ?? expiresAt, scale.until);
  if (expiresAt <= now || end <= now) return [];
  let line = `M${px(scale.x(now))} ${px(scale.y(expiresAt - now))}L${px(scale.x(end))} ${px(scale.y(expiresAt - end))}`;
  if (refreshAt === null || refreshAt > scale.until) return [svg('path', { class: 'plan', d: line })];
  const [x, top] = [scale.x(refreshAt), scale.y(lifetime)];
  const after = Math.min(refreshAt + lifetime, scale.until);
  line += `L${px(x)} ${px(top)}L${px(scale.x(after))} ${px(scale.y(refreshAt + lifetime - after))}`;
  return [svg('path', { class: 'plan', d: line }), svg('circle', { class: 'planned', cx: px(x), cy: px(top), r: 3.5 })];
}

/**
 * Grid, axis labels, margin line and the line of the present.
 *
 * @param {Scene} scene
 * @param {Scale} scale
 * @param {number} width CSS px
 * @returns {SVGElement[]}
 */
function axes({ now, lifetime }, scale, width) {
  const parts = /** @type {SVGElement[]} */ ([]);
  const [left, right] = [PAD.left, width - PAD.right];
  for (const life of [0, scale.top / 2, scale.top]) {
    const y = px(scale.y(life));
    parts.push(svg('line', { class: life === 0 ? 'floor' : 'grid', x1: left, x2: right, y1: y, y2: y }));
    parts.push(svg('text', { class: 'label', x: left - 8, y, dy: '0.35em', 'text-anchor': 'end' }, life === 0 ? '0' : span(life)));
  }
  const perPx = (scale.until - scale.from) / (right - left);
  const step = TICKS.find((seconds) => seconds / perPx >= TICK_PX) ?? TICKS[TICKS.length - 1];
  for (let n = Math.ceil((scale.from - now) / step); n * step <= scale.until - now; n += 1) {
    const x = scale.x(now + n * step);
    const text = n === 0 ? 'now' : `${n < 0 ? '−' : '+'}${oneUnit(Math.abs(n * step))}`;
    parts.push(svg('line', { class: 'grid', x1: px(x), x2: px(x), y1: px(scale.y(0)), y2: px(scale.y(0) + 4) }));
    parts.push(svg('text', { class: n === 0 ? 'label strong' : 'label', x: px(x), y: HEIGHT - 7, 'text-anchor': 'middle' }, text));
  }
  const spare = margin(lifetime);
  const y = px(scale.y(spare));
  parts.push(svg('line', { class: 'margin', x1: left, x2: right, y1: y, y2: y }));
  parts.push(svg('text', { class: 'label margin-label', x: right, y, dy: '-0.4em', 'text-anchor': 'end' }, width < NARROW_PX ? 'margin' : `margin ${span(spare)}`));
  return parts;
}

/**
 * @param {Scene} scene
 * @param {Scale} scale
 * @returns {SVGElement[]}
 */
function present({ now, expiresAt, history }, scale) {
  const x = px(scale.x(now));
  const crosses = history.faults
    .filter(({ at }) => at >= scale.from)
    .map(({ at, kind }) => {
      const [cx, cy] = [scale.x(at), scale.y(0)];
      const arm = 3.5;
      const d = `M${px(cx - arm)} ${px(cy - arm)}l${2 * arm} ${2 * arm}m0 ${-2 * arm}l${-2 * arm} ${2 * arm}`;
      return svg('path', { class: 'fault', d }, svg('title', {}, kind));
    });
  return [
    svg('line', { class: 'now', x1: x, x2: x, y1: PAD.top - 6, y2: px(scale.y(0)) }),
    ...crosses,
    svg('circle', { class: 'head', cx: x, cy: px(scale.y(expiresAt - now)), r: 4.5 }),
  ];
}

/** The drawing of one connection. */
export class Timeline {
  /** @type {HTMLElement} */
  #figure;
  #picture = svg('svg', { role: 'img', focusable: 'false' });
  #caption = html('figcaption', {});
  #drawn = '';
  /** @type {Scene | null} */
  #scene = null;

  /** @param {HTMLElement} figure an empty `figure` */
  constructor(figure) {
    this.#figure = figure;
    figure.append(this.#picture, this.#caption);
    // Drawn anew at once: until the next tick the old drawing would be stretched, its letters with it.
    new ResizeObserver(() => this.#scene && this.draw(this.#scene)).observe(figure);
  }

  /**
   * Draws the scene, unless it would look the same as the last one.
   *
   * @param {Scene} scene
   */
  draw(scene) {
    this.#scene = scene;
    const width = Math.round(this.#figure.clientWidth);
    if (width === 0 || !(scene.lifetime > 0)) return;
    const scale = scaleOf(scene, width);
    const halfPixel = (scale.until - scale.from) / width / 2;
    const { history } = scene;
    const look = [width, Math.floor(scene.now / halfPixel), history.tokens.at(-1)?.id, history.faults.length, scene.nextRefreshAt];
    if (look.join() === this.#drawn) return;
    this.#drawn = look.join();
    this.#picture.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    this.#picture.setAttribute('height', String(HEIGHT));
    this.#picture.setAttribute('aria-label', this.#words(scene, scale));
    this.#picture.replaceChildren(...axes(scene, scale, width), ...past(scene, scale), ...plan(scene, scale), ...present(scene, scale));
    const faults = history.faults.length === 0 ? '' : `, ${plural(history.faults.length, 'failure')}`;
    setText(this.#caption, `Life left over the last ${span(scene.now - scale.from)}: ${plural(history.refreshes, 'refresh', 'refreshes')} seen${faults}.`);
  }

  /**
   * The drawing in words.
   *
   * @param {Scene} scene
   * @param {Scale} scale
   * @returns {string}
   */
  #words({ name, now, expiresAt, lifetime, nextRefreshAt, history }, scale) {
    const left = expiresAt > now ? `${countdown(expiresAt - now)} of ${span(lifetime)} left` : 'run out';
    const next = nextRefreshAt !== null && nextRefreshAt > now ? `, next refresh in ${span(nextRefreshAt - now)}` : '';
    return `Chart of the ${name} token's life over the last ${span(now - scale.from)}: ${left}${next}, ${plural(history.refreshes, 'refresh', 'refreshes')} seen.`;
  }
}
