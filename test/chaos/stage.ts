import { openEtcdStore } from '../../lease/etcd/store.ts'
import type { EtcdTuning } from '../../lease/etcd/tuning.ts'
import { Bed } from '../support/bed.ts'
import { type EtcdCluster, type EtcdServer, startEtcdCluster } from '../support/etcd.ts'
import { etcdOptions } from '../support/etcd_bed.ts'
import { run } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { Namespace } from '../support/namespace.ts'
import type { Segment } from '../support/segment.ts'
import { until } from '../support/until.ts'
import { Citizen } from './citizen.ts'
import { Gateway } from './gateway.ts'
import type { Happening, Promises } from './history.ts'
import { type Logged, timedLog } from './log.ts'
import { Observer } from './observer.ts'
import type { ChaosOptions } from './options.ts'
import { Random } from './random.ts'
import { State } from './state.ts'
import { Wire } from './wire.ts'

const PREFIX = '/chaos/network'
const QUOTA_BYTES = 24 * 2 ** 20
/** The store's pings come faster than etcd allows by default. */
const FLAGS = ['--grpc-keepalive-min-time=500ms', `--quota-backend-bytes=${QUOTA_BYTES}`]

/** Production's times, shortened so that leases really run out within a minute. */
export interface Scale {
  readonly ttlSeconds: number
  readonly renewMarginMs: number
  readonly tuning: Partial<EtcdTuning>
}

const scale: Scale = {
  ttlSeconds: 4,
  renewMarginMs: 2_000,
  tuning: {
    ttlSeconds: 4,
    callTimeoutMs: 1_000,
    keepaliveMs: 1_500,
    keepaliveTimeoutMs: 1_000,
    firstRetryMs: 100,
    lastRetryMs: 1_000,
    checkMs: 2_000,
    relistMs: 20_000,
    relistAfterBreakMs: 2_000,
    refusedRetryMs: 700,
    graceMs: 12_000,
  },
}

/** etcd on three hosts, agents in this process, a wire from each of them to each member, and somebody who looks on. */
export class Stage {
  readonly options: ChaosOptions
  readonly random: Random
  readonly scale = scale
  readonly promises: Promises
  readonly history: Happening[] = []
  readonly state: State
  readonly bed: Bed
  readonly lan: Segment
  readonly hosts: readonly Host[]
  readonly cluster: EtcdCluster
  readonly gateway: Gateway
  readonly citizens: Citizen[] = []
  readonly folder = `${PREFIX}/subnets/`
  readonly dual: boolean
  /** All subnet keys that the network has. */
  readonly keys: readonly string[]
  /** What the agents' clocks are off by, in ms. */
  readonly clockOffsets = new Map<string, number>()
  /** What the agents logged. */
  readonly logged: Logged[] = []
  /** Writes are refused until there is space again. */
  isOutOfSpace = false
  #observer: Observer
  #epoch = 0

  static async create(options: ChaosOptions): Promise<Stage> {
    const bed = await Bed.create({ name: 'chaos' })
    try {
      const lan = await bed.segment('lan', ['10.250.0.0/24'])
      const hosts = [await bed.host('e1', lan), await bed.host('e2', lan), await bed.host('e3', lan)]
      await joinLan(bed, lan)
      const places = hosts.map(host => ({ host: host.address(), netns: host.netns }))
      const cluster = await startEtcdCluster(3, { flags: FLAGS }, places)
      const stage = new Stage(options, bed, lan, hosts, cluster)
      await stage.#begin()
      return stage
    } catch (error) {
      await bed.dispose()
      throw error
    }
  }

  private constructor(
    options: ChaosOptions,
    bed: Bed,
    lan: Segment,
    hosts: readonly Host[],
    cluster: EtcdCluster,
  ) {
    this.options = options
    this.bed = bed
    this.lan = lan
    this.hosts = hosts
    this.cluster = cluster
    this.random = new Random(options.seed)
    this.dual = this.random.chance(0.4)
    // Every second seed has fewer subnets than agents, so that what is free is taken at once.
    const spare = this.random.chance(0.5) ? -2 : 6
    this.keys = subnetKeys(options.agents + spare, this.dual)
    const { firstRetryMs = 0, lastRetryMs = 0, graceMs = 0 } = scale.tuning
    const ttlMs = scale.ttlSeconds * 1000
    this.promises = { ttlMs, agreeMs: 10_000, graceMs, firstRetryMs, lastRetryMs, subnets: this.keys.length }
    this.state = new State(this.promises)
    this.gateway = new Gateway(() => cluster.endpoints)
    this.#observer = this.#observe()
  }

  readonly record = (event: Happening): void => {
    this.history.push(event)
    this.state.apply(event)
  }

  get members(): readonly EtcdServer[] {
    return this.cluster.members
  }

  get observer(): Observer {
    return this.#observer
  }

  async writeConfig(): Promise<void> {
    const count = this.keys.length
    const v6 = {
      EnableIPv6: true,
      IPv6Network: 'fd00:77::/48',
      IPv6SubnetMin: 'fd00:77:0:1::',
      IPv6SubnetMax: `fd00:77:0:${count.toString(16)}::`,
    }
    const v4 = { Network: '10.77.0.0/16', SubnetMin: '10.77.1.0', SubnetMax: `10.77.${count}.0` }
    await this.gateway.put(
      `${PREFIX}/config`,
      JSON.stringify({ ...v4, ...(this.dual && v6), Backend: { Type: 'vxlan' } }),
    )
  }

  /** Without space etcd refuses all writes but removals: this key is there to be removed, for a revision to compact to. */
  async setMark(): Promise<void> {
    await this.gateway.put(`${PREFIX}/mark`, '')
  }

  /** Resolves to its revision once the observer has seen it. */
  async removeMark(): Promise<number> {
    const revision = await this.gateway.remove(`${PREFIX}/mark`)
    await until('the observer to see the mark go', () => this.observer.revision >= revision)
    return revision
  }

  /** All members lose their data and start as a new cluster, or as one that takes itself for the old one. */
  async loseData({ sameCluster }: { sameCluster: boolean }): Promise<void> {
    await Promise.all(this.members.map(member => member.stop('SIGKILL')))
    await this.mendNetwork()
    await this.#observer.end()
    this.#epoch++
    this.isOutOfSpace = false
    this.record({ what: 'reset', at: performance.now(), epoch: this.#epoch })
    const token = sameCluster ? [] : [`--initial-cluster-token=chaos-${this.#epoch}`]
    await Promise.all(
      this.members.map(member => member.restart({ fresh: true, flags: [...FLAGS, ...token] })),
    )
    this.#observer = this.#observe()
    await this.writeConfig()
    await this.setMark()
  }

  /** Of the members; the agents' own wires stay as they are. */
  async mendNetwork(): Promise<void> {
    await this.lan.heal()
    for (const host of this.hosts) await this.lan.replug(host)
  }

  /** Everybody who can have a subnet has one. */
  get isFull(): boolean {
    return this.state.standing.size >= Math.min(this.keys.length, this.citizens.length)
  }

  async dispose(): Promise<void> {
    await Promise.all(this.citizens.map(citizen => citizen.crash()))
    for (const citizen of this.citizens) for (const wire of citizen.wires) wire.close()
    await this.#observer.end()
    await this.cluster.remove()
    await this.bed.dispose()
  }

  async #begin(): Promise<void> {
    await this.writeConfig()
    await this.setMark()
    for (let i = 1; i <= this.options.agents; i++) this.citizens.push(await this.#citizen(i))
    for (const citizen of this.citizens) citizen.start()
  }

  #observe(): Observer {
    return new Observer(this.cluster.endpoints, PREFIX, this.#epoch, this.record)
  }

  async #citizen(number: number): Promise<Citizen> {
    const publicIps = [`198.51.100.${number}`, `2001:db8::${number}`]
    const name = publicIps[0] ?? ''
    const wires = await Promise.all(this.members.map(member => Wire.open(member)))
    const log = timedLog(name, this.logged)
    const random = new Random(this.options.seed * 1000 + number)
    const clock = {
      now: () => performance.now(),
      date: () => Date.now() + (this.clockOffsets.get(name) ?? 0),
    }
    const options = etcdOptions(
      wires.map(wire => wire.endpoint),
      PREFIX,
      { renewMarginMs: scale.renewMarginMs },
    )
    return new Citizen({
      publicIps,
      wires,
      openStore: () => openEtcdStore(options, log, { ...scale.tuning, random: random.next, clock }),
      record: event => this.record({ at: performance.now(), ...event }),
      whenLost: number % 2 === 0 ? 'wait' : 'ask anew',
    })
  }
}

/** Gives this process's own network namespace a name and a port on the segment. */
async function joinLan(bed: Bed, lan: Segment): Promise<void> {
  const here = new Namespace(bed, 'agents', lan.nextAddresses())
  await run(['ip', 'netns', 'attach', here.netns, `${process.pid}`])
  await lan.plug(here, 'eth0')
  await here.ip([`address add ${here.address()}/24 dev eth0`, 'link set eth0 up'])
}

function subnetKeys(count: number, dual: boolean): readonly string[] {
  return Array.from({ length: count }, (_, i) => {
    const v6 = dual ? `&fd00:77:0:${(i + 1).toString(16)}::-64` : ''
    return `10.77.${i + 1}.0-24${v6}`
  })
}
