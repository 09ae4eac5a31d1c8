import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EtcdTuning } from '../../../lease/etcd/client/tuning.ts'
import { type EtcdCluster, type EtcdServer, startEtcdCluster } from '../../support/etcd.ts'
import { EtcdBed, fastTuning } from '../../support/etcd_bed.ts'
import { EtcdNode } from '../../support/etcd_node.ts'
import { runSync } from '../../support/exec.ts'
import { enterOwnNetns } from '../../support/own_netns.ts'
import { until } from '../../support/until.ts'

/** Each member in a namespace of its own, all on one bridge with this process, which is in one of its own, too. */
const why = await enterOwnNetns()
const config = '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}'
const places = [1, 2, 3].map(n => ({ host: `10.77.0.${n}`, netns: `twill-etcd-${process.pid}-m${n}` }))
const peer = (n: number) => `{"PublicIP":"1.2.3.${n}","PublicIPv6":null,"BackendType":"vxlan"}`

describe.skipIf(why !== undefined)('a cluster of three', () => {
  let cluster: EtcdCluster
  const cleanUps: (() => Promise<void>)[] = []
  beforeAll(async () => {
    sh('ip link add br0 type bridge', 'ip link set br0 up', 'ip address add 10.77.0.254/24 dev br0')
    for (const [i, { host, netns }] of places.entries())
      sh(
        `ip netns add ${netns}`,
        `ip link add p${i} type veth peer name eth0 netns ${netns}`,
        `ip link set p${i} master br0 up`,
        `ip -n ${netns} link set lo up`,
        `ip -n ${netns} address add ${host}/24 dev eth0`,
        `ip -n ${netns} link set eth0 up`,
      )
    cluster = await startEtcdCluster(3, {}, places)
  })
  afterAll(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
    await cluster?.remove()
    for (const { netns } of places) sh(`ip netns delete ${netns}`)
  })

  async function start(numbers: readonly number[], tuning: Partial<EtcdTuning> = {}) {
    const [first] = cluster.members
    if (!first) throw new Error('no member')
    const bed = new EtcdBed(first, { ...fastTuning, ...tuning }, { endpoints: cluster.endpoints })
    await bed.writeConfig(config)
    const nodes = await Promise.all(
      numbers.map(n => {
        const node = new EtcdNode(bed, n, { endpoints: cluster.endpoints })
        cleanUps.push(() => node.stop())
        return node.start()
      }),
    )
    for (const node of nodes) await node.tables?.until(table => table.size === numbers.length)
    return { bed, nodes }
  }

  test('whose members are killed in turn loses no write and no event', async () => {
    const { bed, nodes } = await start([1, 2, 3])
    let written = 0
    for (const member of cluster.members) {
      await member.stop('SIGKILL')
      const other = cluster.members.find(one => one !== member)
      for (let i = 0; i < 10; i++) {
        await put(other, bed.key(`10.1.${120 + written}.0-24`), peer(written))
        written++
      }
      for (const node of nodes) await node.tables?.until(table => table.size === 3 + written)
      await member.restart()
    }
    expect(nodes.map(node => node.lost)).toEqual([undefined, undefined, undefined])
    const late = new EtcdNode(bed, 4, { endpoints: cluster.endpoints })
    cleanUps.push(() => late.stop())
    await late.start()
    for (const node of nodes) await node.tables?.until(table => table.size === 34)
  })

  test('whose leader is cut off is followed through the others, by the pings of production', async () => {
    const { bed, nodes } = await start([1, 2, 3, 4, 5, 6], productionTuning)
    const leader = await cluster.leader()
    const other = cluster.members.find(one => one !== leader)
    cut(leader)
    try {
      await put(other, bed.key('10.1.200.0-24'), peer(200))
      await Promise.all(nodes.map(node => node.tables?.until(table => table.has('10.1.200.0-24'))))
      expect(nodes.map(node => node.lost)).toEqual(nodes.map(() => undefined))
    } finally {
      heal(leader)
    }
  })

  test('whose member lost the others ends its watches: no agent stays with one that knows nothing new', async () => {
    const { bed, nodes } = await start([1, 2, 3, 4, 5, 6])
    const leader = await cluster.leader()
    const other = cluster.members.find(one => one !== leader)
    cut(
      leader,
      'ip saddr 10.77.0.254 accept',
      'ip daddr 10.77.0.254 accept',
      'iif lo accept',
      'oif lo accept',
    )
    try {
      await put(other, bed.key('10.1.200.0-24'), peer(200))
      await Promise.all(nodes.map(node => node.tables?.until(table => table.has('10.1.200.0-24'))))
    } finally {
      heal(leader)
    }
  })

  test('that is frozen as a whole costs no agent a peer, and continues where it was', async () => {
    const { bed, nodes } = await start([1, 2, 3], { callTimeoutMs: 1_000 })
    for (const member of cluster.members) member.pause()
    try {
      const [node] = nodes
      const [before, began] = [node?.store.calls ?? 0, performance.now()]
      await new Promise(resolve => setTimeout(resolve, 4_000))
      // A call takes a second to fail, then the back-off of up to 0.4 s: hardly more than three in flight at once.
      const seconds = (performance.now() - began) / 1_000
      expect((node?.store.calls ?? 0) - before).toBeLessThan(5 * seconds)
      for (const one of nodes) expect(one.known.length).toBe(3)
    } finally {
      for (const member of cluster.members) member.resume()
    }
    await until('it to answer', () => cluster.members[0]?.ready().then(() => true))
    await put(cluster.members[0], bed.key('10.1.200.0-24'), peer(200))
    await Promise.all(nodes.map(node => node.tables?.until(table => table.has('10.1.200.0-24'))))
    expect(nodes.map(node => node.lost)).toEqual([undefined, undefined, undefined])
  })
})

/** The keepalive of production; only what is waited for in vain is shorter. */
const productionTuning: Partial<EtcdTuning> = { callTimeoutMs: 5_000, firstRetryMs: 200, lastRetryMs: 5_000 }

/** Right after an election a write may fail: it is the test's, and tries again. */
async function put(member: EtcdServer | undefined, key: string, value: string): Promise<void> {
  await until('a write', () => member?.ctl('put', '--command-timeout=2s', key, value).catch(() => false))
}

/** Drops everything at the member's, without a word to anybody: connections stay half open. */
function cut(member: EtcdServer, ...exceptions: readonly string[]): void {
  const chain = (hook: string) => {
    const rules = exceptions.filter(rule => allowed(hook, rule)).join('\n')
    return `chain ${hook} {\n type filter hook ${hook} priority 0; policy drop;\n${rules}\n}\n`
  }
  const table = `table inet cut {\n${chain('input')}${chain('output')}}`
  runIn(member, ['nft', table])
}

function heal(member: EtcdServer): void {
  runIn(member, ['nft', 'delete table inet cut'])
}

function allowed(hook: string, rule: string): boolean {
  return hook === 'input' ? !/daddr|oif/.test(rule) : !/saddr|iif/.test(rule)
}

function runIn(member: EtcdServer, command: readonly string[]): void {
  const place = places.find(({ host }) => host === member.host)
  const { code, stderr } = runSync(['nsenter', `--net=/run/netns/${place?.netns}`, ...command])
  if (code !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
}

function sh(...commands: readonly string[]): void {
  for (const command of commands) {
    const { code, stderr } = runSync(command.split(' '))
    if (code !== 0) throw new Error(`${command}: ${stderr}`)
  }
}
