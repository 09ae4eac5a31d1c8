import { type ChildProcess, fork } from 'node:child_process'
import type { Resident } from './citizen.ts'
import type { AgentHappening, Happening } from './history.ts'
import { type Lodger, monotonicMs, type News, type Order } from './house_child.ts'
import { agentName } from './names.ts'
import type { Wire } from './wire.ts'

/** Some agents in a process of their own that can be frozen: timers, clock, sockets and all. */
export class House {
  readonly residents: readonly LodgerResident[]
  readonly #process: ChildProcess
  #isFrozen = false
  #isOver = false

  constructor(
    lodgers: readonly (Lodger & { readonly wires: readonly Wire[] })[],
    record: (event: Happening) => void,
  ) {
    this.#process = fork(process.argv[1] ?? '', ['--house'])
    this.residents = lodgers.map(
      (lodger, place) => new LodgerResident(lodger, lodger.wires, place, order => this.#send(order)),
    )
    const ahead = monotonicMs() - performance.now()
    this.#process.on('message', (news: News) => {
      if (news.news === 'crashed') this.residents[news.number]?.hasCrashed()
      else {
        this.residents.find(one => one.name === news.event.agent)?.hear(news.event)
        record({ ...news.event, at: news.at - ahead })
      }
    })
    this.#process.on('exit', code => {
      if (this.#isOver) return
      for (const { name } of this.residents)
        record({
          what: 'failed',
          at: performance.now(),
          agent: name,
          error: `its process ended, code ${code}`,
        })
    })
    this.#send({ order: 'move in', lodgers: lodgers.map(({ wires: _, ...lodger }) => lodger) })
  }

  freeze(): void {
    this.#isFrozen = true
    this.#process.kill('SIGSTOP')
  }

  thaw(): void {
    if (this.#isFrozen) this.#process.kill('SIGCONT')
    this.#isFrozen = false
  }

  end(): void {
    this.#isOver = true
    this.#process.kill('SIGKILL')
  }

  #send(order: Order): void {
    if (order.order === 'crash') this.thaw()
    this.#process.send(order)
  }
}

class LodgerResident implements Resident {
  readonly name: string
  readonly wires: readonly Wire[]
  readonly #number: number
  readonly #send: (order: Order) => void
  #crashed: () => void = () => {}
  isRunning = false
  lastKey: string | undefined
  publicIps: readonly string[]

  /** `place`: its number in the house. */
  constructor(lodger: Lodger, wires: readonly Wire[], place: number, send: (order: Order) => void) {
    this.name = agentName(lodger.number)
    this.publicIps = lodger.publicIps
    this.wires = wires
    this.#number = place
    this.#send = send
  }

  start(): void {
    if (this.isRunning) return
    this.isRunning = true
    this.#send({ order: 'start', number: this.#number, lastKey: this.lastKey })
  }

  async crash(): Promise<void> {
    if (!this.isRunning) return
    for (const wire of this.wires) wire.set('cut')
    const crashed = new Promise<void>(resolve => {
      this.#crashed = resolve
    })
    this.#send({ order: 'crash', number: this.#number })
    await crashed
    this.isRunning = false
    for (const wire of this.wires) wire.set('open')
  }

  readdress(publicIps: readonly string[]): void {
    this.publicIps = publicIps
    this.#send({ order: 'readdress', number: this.#number, publicIps })
  }

  countCalls(): void {
    if (this.isRunning) this.#send({ order: 'count calls', number: this.#number })
  }

  hasCrashed(): void {
    this.#crashed()
  }

  hear(event: AgentHappening): void {
    if (event.what === 'acquired') this.lastKey = event.key
  }
}
