import { openCountedStore } from '../support/counted_store.ts'
import { Citizen } from './citizen.ts'
import type { AgentHappening } from './history.ts'
import { timedLog } from './log.ts'
import { agentMac, agentName } from './names.ts'
import { Random } from './random.ts'
import { scale, storeOptions } from './scale.ts'

/** Who lives in a house: number, public IPs and the near ends of the wires. */
export interface Lodger {
  readonly number: number
  readonly publicIps: readonly string[]
  readonly endpoints: readonly string[]
  readonly seed: number
  readonly whenLost: 'wait' | 'ask again'
}

/** What a house is told to do with the lodger of that number. */
export type Order =
  | { readonly order: 'move in'; readonly lodgers: readonly Lodger[] }
  | { readonly order: 'start'; readonly number: number; readonly lastKey: string | undefined }
  | { readonly order: 'crash'; readonly number: number }
  | { readonly order: 'readdress'; readonly number: number; readonly publicIps: readonly string[] }
  | { readonly order: 'count calls'; readonly number: number }

/** What it tells: happenings at their time on the machine's own clock (CLOCK_MONOTONIC, ms), and crashes carried out. */
export type News =
  | { readonly news: 'happened'; readonly at: number; readonly event: AgentHappening }
  | { readonly news: 'crashed'; readonly number: number }

/** Agents in a process of their own, for faults that a whole process meets: SIGSTOP. Never resolves. */
export function keepHouse(): Promise<never> {
  let citizens: readonly Citizen[] = []
  process.on('disconnect', () => process.exit(0))
  process.on('message', (order: Order) => {
    if (order.order === 'move in') citizens = order.lodgers.map(settle)
    else obey(citizens[order.number], order)
  })
  return new Promise(() => {})
}

function obey(citizen: Citizen | undefined, order: Exclude<Order, { order: 'move in' }>): void {
  if (!citizen) return
  switch (order.order) {
    case 'start':
      citizen.lastKey = order.lastKey
      citizen.start()
      return
    case 'crash':
      citizen.crash().then(
        () => tell({ news: 'crashed', number: order.number }),
        error => {
          throw error
        },
      )
      return
    case 'readdress':
      citizen.readdress(order.publicIps)
      return
    case 'count calls':
      citizen.countCalls()
  }
}

function settle({ number, publicIps, endpoints, seed, whenLost }: Lodger): Citizen {
  const name = agentName(number)
  const random = new Random(seed)
  const tuning = { ...scale.tuning, random: random.next }
  return new Citizen({
    name,
    mac: agentMac(number),
    publicIps,
    wires: [],
    openStore: () => openCountedStore(storeOptions(endpoints), timedLog(name, []), tuning),
    record: event => tell({ news: 'happened', at: monotonicMs(), event }),
    whenLost,
  })
}

function tell(news: News): void {
  process.send?.(news)
}

/** The same in every process. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
