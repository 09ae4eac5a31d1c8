import { type ChildProcess, fork } from 'node:child_process'

/** What one job can be asked to do. Arguments and results cross a process boundary as JSON. */
export type Job = Readonly<Record<string, (...words: never[]) => unknown>>

interface Question {
  readonly id: number
  readonly act: string
  readonly words: readonly never[]
}

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

export interface WorkerOptions {
  /** Network namespace to start in, as `ip netns` lists it. */
  readonly netns?: string
  /** Of node itself: `--expose-gc`. */
  readonly nodeFlags?: readonly string[]
}

/** One of our processes in a network namespace, for what has to be done there by other means than a command. */
export class Worker<J extends Job> {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  #asked = 0

  constructor(job: string, { netns, nodeFlags = [] }: WorkerOptions = {}) {
    const words = ['--job', job]
    const [self = ''] = process.argv.slice(1)
    const node = [...nodeFlags]
    this.#child =
      netns === undefined
        ? fork(self, words, { execArgv: node })
        : fork(self, words, {
            execPath: 'nsenter',
            execArgv: [`--net=/run/netns/${netns}`, process.execPath, ...node],
          })
    this.#child.on('message', answer => this.#answered(answer as Answer))
    this.#child.on('error', error => this.#failed(error))
    this.#child.on('exit', code => this.#failed(new Error(`The job '${job}' ended with code ${code}`)))
  }

  call<A extends keyof J & string>(act: A, ...words: Parameters<J[A]>): Promise<Awaited<ReturnType<J[A]>>> {
    this.#asked += 1
    const id = this.#asked
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: result => resolve(result as Awaited<ReturnType<J[A]>>), reject })
      this.#child.send({ id, act, words } satisfies Question)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#waiting.clear()
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise(resolve => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
  }

  #answered({ id, result, error }: Answer): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(error))
  }

  #failed(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

/** In the process that a Worker started: answers until its parent goes. */
export function serve(job: Job): void {
  process.on('disconnect', () => process.exit(0))
  process.on('message', message => {
    const { id, act, words } = message as Question
    const answer = (rest: Omit<Answer, 'id'>) => process.send?.({ id, ...rest })
    Promise.resolve()
      .then(() => job[act]?.(...words))
      .then(
        result => answer({ result }),
        (error: unknown) => answer({ error: error instanceof Error ? `${error.stack}` : `${error}` }),
      )
  })
}
