/** The server's time, as well as a browser can know it. */

/**
 * The server's clock may run faster than the browser's (`--speed`) and says its time in whole seconds. Each answer therefore
 * bounds the time rather than setting it: while the running estimate lies within the bounds it is left alone, so that
 * countdowns do not tremble with every poll.
 */
export class ServerClock {
  #speed = 1;
  /** Server time in seconds at `#anchorMs` of the browser's monotonic clock. */
  #anchor = 0;
  #anchorMs = 0;
  #known = false;

  /** @returns {boolean} whether the server has been heard at all */
  get known() {
    return this.#known;
  }

  /** @returns {number} server seconds that pass in one second of the browser */
  get speed() {
    return this.#speed;
  }

  /** @param {number} speed server seconds per browser second */
  set speed(speed) {
    if (!(speed > 0)) return;
    const nowMs = performance.now();
    this.#anchor = this.now(nowMs);
    this.#anchorMs = nowMs;
    this.#speed = speed;
  }

  /**
   * Takes note of a time that the server said.
   *
   * Said `now` somewhere between sending and receiving, the server's time on receipt is at least `now`, and less than
   * `now` + 1 (the cut fraction) + the round trip at the server's speed.
   *
   * @param {number} now the server's Unix time, whole seconds
   * @param {number} sentMs when the request left, on the browser's monotonic clock
   * @param {number} receivedMs when the answer was there, same clock
   */
  observe(now, sentMs, receivedMs) {
    const latest = now + 1 + ((receivedMs - sentMs) / 1000) * this.#speed;
    const estimate = this.#known ? this.now(receivedMs) : now;
    this.#anchor = Math.min(Math.max(estimate, now), latest);
    this.#anchorMs = receivedMs;
    this.#known = true;
  }

  /**
   * @param {number} [monotonicMs] an instant of the browser's monotonic clock, by default the present
   * @returns {number} the server's Unix time in seconds, with fractions
   */
  now(monotonicMs = performance.now()) {
    return this.#anchor + ((monotonicMs - this.#anchorMs) / 1000) * this.#speed;
  }
}
