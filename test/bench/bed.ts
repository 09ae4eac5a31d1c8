import { existsSync, readFileSync } from 'node:fs'
import { type Agent, healthPort } from '../support/agent.ts'
import { Bed } from '../support/bed.ts'
import { type EtcdServer, startEtcd } from '../support/etcd.ts'
import { mapBounded } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { EndedError, type Process } from '../support/process.ts'
import { until } from '../support/until.ts'
import type { Contender } from './contender.ts'
import type { StoreJob } from './jobs/store.ts'
import { madeUpUnderlay, network, type StoredLease } from './peers.ts'
import { Worker } from './worker.ts'

/** Hosts of one network with a real etcd, where most peers are leases that no node holds. */
export class BenchBed {
  readonly bed: Bed
  readonly hosts: readonly Host[]
  readonly etcd: EtcdServer
  /** Writes to etcd from the etcd's own host. */
  readonly store: Worker<StoreJob>

  private constructor(bed: Bed, hosts: readonly Host[], etcd: EtcdServer, store: Worker<StoreJob>) {
    this.bed = bed
    this.hosts = hosts
    this.etcd = etcd
    this.store = store
  }

  static async create({ hosts = 1, config = network as object } = {}): Promise<BenchBed> {
    const bed = await Bed.create({ name: 'bench' })
    const lan = await bed.segment('lan', ['192.168.50.0/24', 'fd50::/64'])
    const place = await bed.host('store', lan)
    const etcd = await startEtcd({
      netns: place.netns,
      host: place.address(),
      flags: ['--quota-backend-bytes=4294967296', '--max-txn-ops=1024'],
    })
    const store = new Worker<StoreJob>('store', { netns: place.netns })
    await etcd.ctl('put', '/coreos.com/network/config', JSON.stringify(config))
    await store.call('open', etcd.endpoint, '/coreos.com/network/subnets/')
    const names = Array.from({ length: hosts }, (_, i) => `h${i + 1}`)
    const made = await mapBounded(names, 4, name => bed.host(name, lan))
    // The way to peers that are made up: without one each agent finds its host broken, and looks at it every 10 s.
    for (const host of made) await host.exec(['ip', 'route', 'add', madeUpUnderlay, 'via', place.address()])
    return new BenchBed(bed, made, etcd, store)
  }

  get host(): Host {
    const [host] = this.hosts
    if (host === undefined) throw new Error('A bench bed without hosts')
    return host
  }

  async put(leases: readonly StoredLease[]): Promise<void> {
    await this.store.call('put', leases)
  }

  /** Empties the network of all leases, those of agents too. */
  async clear(): Promise<void> {
    await this.store.call('clear')
  }

  /** An agent that is up, with the entries of all its peers in the kernel. */
  startAgent(flags: readonly string[] = [], host: Host = this.host): Promise<Agent> {
    return host.startAgent({ endpoints: this.etcd.endpoints, flags })
  }

  /** An agent with routes to so many peers in the kernel, and its subnet file written. */
  async startContender(contender: Contender, peers: number, host: Host = this.host): Promise<Process> {
    const process = this.launchContender(contender, host)
    const isProgrammed = async () => {
      if (process.exit !== undefined) throw new EndedError(process)
      const routes = await host.routes()
      const toPeers = routes.filter(route => route.includes(' dev flannel.1'))
      return toPeers.length >= peers && existsSync(host.subnetFile)
    }
    const otherwise = () => `it said:\n${process.text().slice(-4000)}`
    await until(`${contender.name} to program ${peers} peers`, isProgrammed, { withinMs: 60_000, otherwise })
    return process
  }

  launchContender({ name, command }: Contender, host: Host = this.host): Process {
    const endpoints = this.etcd.endpoints
    if (command === undefined) return host.launchAgent({ endpoints }).process
    const flags = [
      `--etcd-endpoints=${endpoints.join(',')}`,
      '--iface=eth0',
      `--subnet-file=${host.subnetFile}`,
      `--healthz-port=${healthPort}`,
    ]
    return host.spawn([...command, ...flags], { name })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]()
    await this.etcd.remove()
    await this.bed.dispose()
  }
}

/**
 * CPU time in ms of a process and of its children that have ended, user and system: proc_pid_stat(5), fields 14 to 17, in
 * ticks of 10 ms.
 */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * 10, 0)
}
