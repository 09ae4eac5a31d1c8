import { join } from 'node:path'
import { Bed } from '../support/bed.ts'
import { openCountedStore } from '../support/counted_store.ts'
import { type EtcdCluster, type EtcdServer, startEtcdCluster } from '../support/etcd.ts'
import { run } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { Namespace } from '../support/namespace.ts'
import type { Segment } from '../support/segment.ts'
import { until } from '../support/until.ts'
import { Citizen, type Resident } from './citizen.ts'
import { Gateway } from './gateway.ts'
import type { Happening, Promises } from './history.ts'
import { House } from './house.ts'
import type { Lodger } from './house_child.ts'
import { type Logged, timedLog } from './log.ts'
import { agentMac, agentName, holderOf } from './names.ts'
import { Observer, publicIpOf } from './observer.ts'
import type { ChaosOptions } from './options.ts'
import { Random } from './random.ts'
import { PREFIX, scale, storeOptions } from './scale.ts'
import { State } from './state.ts'
import { Wire } from './wire.ts'

const QUOTA_BYTES = 24 * 2 ** 20
/** So many agents live in the process that is frozen now and then. */
const HOUSED = 5
/** The store's pings come faster than etcd allows by default. */
const FLAGS = ['--grpc-keepalive-min-time=500ms', `--quota-backend-bytes=${QUOTA_BYTES}`]

/** etcd on three hosts, agents in this process, a wire from each of them to each member, and an observer. */
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
  readonly citizens: Resident[] = []
  readonly folder = `${PREFIX}/subnets/`
  readonly dual: boolean
  /** All subnet keys that the network has. */
  readonly keys: readonly string[]
  /** Addresses that each agent has once all is healed. */
  readonly homes = new Map<Resident, readonly string[]>()
  /** What the agents' clocks are off by, in ms. */
  readonly clockOffsets = new Map<string, number>()
  /** What the agents logged. */
  readonly logged: Logged[] = []
  /** Writes are refused until there is space again. */
  isOutOfSpace = false
  /** When the machine was last too slow. */
  slowAt = Number.NEGATIVE_INFINITY
  #observer: Observer
  #house: House | undefined
  #epoch = 0
  readonly #snapshots: string[] = []

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
    const { firstRetryMs, lastRetryMs, graceMs } = scale.tuning
    const ttlMs = scale.ttlSeconds * 1000
    this.promises = { ttlMs, agreeMs: 10_000, graceMs, firstRetryMs, lastRetryMs, subnets: this.keys.length }
    this.state = new State(this.promises)
    this.gateway = new Gateway(() => cluster.endpoints)
    this.#observer = this.#observe()
  }

  readonly record = (event: Happening): void => {
    this.history.push(event)
    if (event.what === 'slow') this.slowAt = event.at
    this.state.apply(event)
  }

  get members(): readonly EtcdServer[] {
    return this.cluster.members
  }

  /** Some of the agents, in a process of their own. */
  get house(): House {
    if (!this.#house) throw new Error('The agents are not there yet')
    return this.#house
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

  /** Keeps the last few: how etcd stood at this moment. */
  async takeSnapshot(): Promise<void> {
    const [member] = this.members
    const file = join(
      this.bed.directory,
      `snapshot-${this.#snapshots.length}-${Math.round(performance.now())}`,
    )
    await member?.snapshot(file)
    this.#snapshots.push(file)
  }

  /** All members go back to the last snapshot, or to one of an earlier round. Resolves to how many snapshots ago. */
  async restoreSnapshot({ isFresh = false, isOtherCluster = false }): Promise<number> {
    const age = isFresh ? 1 : this.random.whole(1, Math.min(3, this.#snapshots.length))
    const file = this.#snapshots.at(-age)
    if (file === undefined) throw new Error('no snapshot was taken yet')
    await Promise.all(this.members.map(member => member.stop('SIGKILL')))
    await this.mendNetwork()
    await this.#observer.end()
    this.#epoch++
    // A snapshot of this round is as full as the store was.
    this.isOutOfSpace &&= isFresh
    this.record({ what: 'reset', at: performance.now(), epoch: this.#epoch })
    const token = isOtherCluster ? [`--initial-cluster-token=chaos-${this.#epoch}`] : []
    await Promise.all(this.members.map(member => member.restore(file, token)))
    const { revision, keys } = await this.gateway.listWithRevisions(this.folder)
    for (const { key, value, created, modified, leaseId } of keys)
      this.record({
        what: 'put',
        at: performance.now(),
        epoch: this.#epoch,
        revision: modified,
        key: key.slice(this.folder.length),
        created,
        holder: holderOf(value),
        ip: publicIpOf(value),
        lease: leaseId,
      })
    this.#observer = this.#observe(revision)
    return age
  }

  /** Of the members; the agents' own wires stay as they are. */
  async mendNetwork(): Promise<void> {
    await this.lan.heal()
    for (const host of this.hosts) await this.lan.replug(host)
  }

  /** Running or not, the agent has these addresses from now on. */
  readdress(agent: Resident, publicIps: readonly string[]): void {
    if (agent.publicIps.join() !== publicIps.join()) agent.readdress(publicIps)
  }

  /** Every agent that can have a subnet has one. */
  get isFull(): boolean {
    return this.state.standing.size >= Math.min(this.keys.length, this.citizens.length)
  }

  async dispose(): Promise<void> {
    await Promise.all(this.citizens.map(citizen => citizen.crash()))
    for (const citizen of this.citizens) for (const wire of citizen.wires) wire.close()
    this.#house?.end()
    await this.#observer.end()
    await this.cluster.remove()
    await this.bed.dispose()
  }

  async #begin(): Promise<void> {
    await this.writeConfig()
    await this.setMark()
    const { agents } = this.options
    const housed: (Lodger & { readonly wires: readonly Wire[] })[] = []
    for (let i = 1; i <= agents; i++) {
      const wires = await Promise.all(this.members.map(member => Wire.open(member)))
      if (i <= HOUSED) housed.push({ ...this.#lodger(i, wires), wires })
      else this.citizens.push(this.#citizen(this.#lodger(i, wires), wires))
    }
    this.#house = new House(housed, this.record)
    this.citizens.push(...this.#house.residents)
    for (const citizen of this.citizens) {
      this.homes.set(citizen, citizen.publicIps)
      citizen.start()
    }
  }

  /** From behind that revision on. */
  #observe(revision = 0): Observer {
    return new Observer(this.cluster.endpoints, PREFIX, this.#epoch, this.record, revision)
  }

  #lodger(number: number, wires: readonly Wire[]): Lodger {
    return {
      number,
      publicIps: addresses(number),
      endpoints: wires.map(wire => wire.endpoint),
      seed: this.options.seed * 1000 + number,
      whenLost: number % 2 === 0 ? 'wait' : 'ask again',
    }
  }

  #citizen({ number, publicIps, endpoints, seed, whenLost }: Lodger, wires: readonly Wire[]): Citizen {
    const name = agentName(number)
    const log = timedLog(name, this.logged)
    const random = new Random(seed)
    const clock = {
      now: () => performance.now(),
      date: () => Date.now() + (this.clockOffsets.get(name) ?? 0),
    }
    return new Citizen({
      name,
      mac: agentMac(number),
      publicIps,
      wires,
      openStore: () =>
        openCountedStore(storeOptions(endpoints), log, { ...scale.tuning, random: random.next, clock }),
      record: event => this.record({ at: performance.now(), ...event }),
      whenLost,
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

/** Public IPs of the host of that number, IPv4 first. */
export function addresses(number: number): readonly string[] {
  return [`198.51.100.${number}`, `2001:db8::${number}`]
}

function subnetKeys(count: number, dual: boolean): readonly string[] {
  return Array.from({ length: count }, (_, i) => {
    const v6 = dual ? `&fd00:77:0:${(i + 1).toString(16)}::-64` : ''
    return `10.77.${i + 1}.0-24${v6}`
  })
}
