/** Durations and instants in words. All durations are in seconds, all instants in Unix seconds. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MONTH = 30 * DAY;
const YEAR = 365 * DAY;

const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DATE = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
const DAY_AND_TIME = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

const AXIS_NUMBER = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 1 });

/** @param {number} n */
const twoDigits = (n) => String(n).padStart(2, '0');

/**
 * A running countdown: `49:12`, `1:02:03`, `6 d 04:12:33`. Never negative.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function countdown(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  const days = Math.floor(left / DAY);
  const hours = Math.floor((left % DAY) / HOUR);
  const minutes = Math.floor((left % HOUR) / MINUTE);
  const rest = twoDigits(left % MINUTE);
  if (days > 0) return `${days} d ${twoDigits(hours)}:${twoDigits(minutes)}:${rest}`;
  if (hours > 0) return `${hours}:${twoDigits(minutes)}:${rest}`;
  return `${minutes}:${rest}`;
}

/**
 * A length of time in at most two units: `12 s`, `49 min`, `1 h 5 min`, `5 months`.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 2 * MINUTE) return s % MINUTE === 0 && s > 0 ? `${s / MINUTE} min` : `${s} s`;
  if (s < HOUR) return `${Math.round(s / MINUTE)} min`;
  if (s < DAY) {
    const minutes = Math.round(s / MINUTE);
    return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }
  if (s < 2 * MONTH) return plural(Math.round(s / DAY), 'day');
  if (s < YEAR) return plural(Math.round(s / MONTH), 'month');
  return plural(Math.round(s / YEAR), 'year');
}

/**
 * A length of time in one unit, for an axis: `90 min`, `4 h`, `3 d`.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function oneUnit(seconds) {
  if (seconds < 5 * MINUTE && seconds % MINUTE !== 0) return `${AXIS_NUMBER.format(seconds)} s`;
  if (seconds < 3 * HOUR) return `${AXIS_NUMBER.format(seconds / MINUTE)} min`;
  if (seconds < 2 * DAY) return `${AXIS_NUMBER.format(seconds / HOUR)} h`;
  return `${AXIS_NUMBER.format(seconds / DAY)} d`;
}

/**
 * An instant relative to now: `in 49 min`, `3 min ago`, `now`.
 *
 * @param {number} at
 * @param {number} now
 * @returns {string}
 */
export function relative(at, now) {
  const distance = Math.round(at - now);
  if (distance === 0) return 'now';
  return distance > 0 ? `in ${span(distance)}` : `${span(-distance)} ago`;
}

/**
 * An instant as a reader in the browser's time zone says it: the time today, else the day as well, else the date.
 *
 * @param {number} at
 * @param {number} now
 * @returns {string}
 */
export function instant(at, now) {
  const date = new Date(at * 1000);
  if (date.toDateString() === new Date(now * 1000).toDateString()) return TIME.format(date);
  return Math.abs(at - now) < 7 * DAY ? DAY_AND_TIME.format(date) : DATE.format(date);
}

/**
 * The time of day, to the second.
 *
 * @param {number} at
 * @returns {string}
 */
export function timeOfDay(at) {
  return TIME.format(new Date(at * 1000));
}

/**
 * `1 day`, `2 days`, `3 refreshes`.
 *
 * @param {number} count
 * @param {string} noun in the singular
 * @param {string} [nouns] in the plural, where that is not the singular with an s
 * @returns {string}
 */
export function plural(count, noun, nouns = `${noun}s`) {
  return `${count} ${count === 1 ? noun : nouns}`;
}
