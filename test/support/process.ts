import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import type { Command } from './exec.ts'
import { until } from './until.ts'

/** How a process ended: its exit code, or the signal that ended it. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** The words of a process; none where it has ended, or is the kernel's. */
export function commandLine(pid: number | string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  } catch {
    return []
  }
}

/**
 * A process that runs until it is stopped. Its output goes to a file, so that it can outlive this process
 * where it should.
 */
export class Process {
  readonly command: Command
  readonly logFile: string
  readonly exited: Promise<Exit>
  #child: ChildProcess
  #exit: Exit | undefined

  constructor(command: Command, logFile: string, env: Readonly<Record<string, string>> = {}) {
    this.command = command
    this.logFile = logFile
    const log = openSync(logFile, 'a')
    const [program = '', ...words] = command
    // A session of its own: Ctrl-C in a terminal then ends only this process, and a signal to the group
    // reaches its children.
    this.#child = spawn(program, words, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
    })
    closeSync(log)
    this.exited = new Promise((resolve, reject) => {
      this.#child.on('error', reject)
      this.#child.on('exit', (code, signal) => {
        this.#exit = { code, signal }
        resolve(this.#exit)
      })
    })
    this.exited.catch(() => {})
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit
  }

  /** All output up to now, stdout and stderr in the order written. */
  text(): string {
    return readFileSync(this.logFile, 'utf8')
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#exit !== undefined || this.pid === 0) return
    try {
      process.kill(-this.pid, signal)
    } catch {
      // The process has ended meanwhile.
    }
  }

  /**
   * Sends the signal and waits until the process has ended. Kills a process that does not end within
   * `withinMs`, and throws.
   */
  async stop(signal: NodeJS.Signals = 'SIGTERM', withinMs = 40_000): Promise<Exit> {
    let killed = false
    this.signal(signal)
    const timer = setTimeout(() => {
      killed = true
      this.signal('SIGKILL')
    }, withinMs)
    const exit = await this.exited.finally(() => clearTimeout(timer))
    if (killed) throw new HangsError(this, signal, withinMs)
    return exit
  }

  kill9(): Promise<Exit> {
    return this.stop('SIGKILL')
  }

  /** Waits for output that matches. Rejects where the process ends before. */
  async says(pattern: RegExp, withinMs = 40_000): Promise<RegExpMatchArray> {
    return await until(
      `${this.command.join(' ')} to say ${pattern}`,
      () => {
        const match = this.text().match(pattern)
        if (match === null && this.#exit !== undefined) throw new EndedError(this)
        return match ?? undefined
      },
      { withinMs, otherwise: () => `it said:\n${this.text().slice(-4000)}` },
    )
  }

  /** Lets this process end while the child continues. */
  release(): void {
    this.#child.unref()
  }
}

/** The process ended before it did what the test waits for. */
export class EndedError extends Error {
  override name = 'EndedError'
  constructor(ended: Process) {
    const { code, signal } = ended.exit ?? { code: null, signal: null }
    super(`'${ended.command.join(' ')}' ended (${signal ?? code}); it said:\n${ended.text().slice(-4000)}`)
  }
}

/** The process did not end by a signal. */
export class HangsError extends Error {
  override name = 'HangsError'
  constructor(process: Process, signal: NodeJS.Signals, withinMs: number) {
    const said = process.text().slice(-4000)
    super(
      `'${process.command.join(' ')}' did not end within ${withinMs / 1000} s of ${signal}; it said:\n${said}`,
    )
  }
}
