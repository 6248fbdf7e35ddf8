/** Asking again and again, never twice at once, and not while nobody looks. */

/** Runs a task over and over while the page is visible. */
export class Poll {
  /** @type {() => Promise<number>} */
  #task;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #running = false;
  #again = false;

  /** @param {() => Promise<number>} task answers with the pause until its next run, ms; what it throws ends the asking until the next kick */
  constructor(task) {
    this.#task = task;
    document.addEventListener('visibilitychange', () => this.kick());
  }

  /** Runs the task now, or as soon as the run in progress has ended. */
  async kick() {
    clearTimeout(this.#timer);
    if (this.#running) {
      this.#again = true;
      return;
    }
    if (document.visibilityState !== 'visible') return;
    this.#running = true;
    let pauseMs;
    try {
      pauseMs = await this.#task();
    } finally {
      this.#running = false;
    }
    const again = this.#again;
    this.#again = false;
    this.#timer = setTimeout(() => this.kick(), again ? 0 : pauseMs);
  }
}
