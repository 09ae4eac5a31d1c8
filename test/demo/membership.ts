import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { Process } from '../support/process.ts'
import { until } from '../support/until.ts'
import { lostPings, type Ping, pingAll } from './pings.ts'
import type { Screen } from './screen.ts'
import { etcdPrefix, type Node, type Stage } from './stage.ts'

export interface Leave {
  readonly node: string
  /** Pings to its pod after its agent ended, and how many were answered. */
  readonly afterAgentEnded: { readonly sent: number; readonly answered: number }
  /** From the lease's removal in etcd until the last of the others had removed its route. */
  readonly followedMs: number
}

export interface Join {
  readonly node: string
  /** From the start of its agent's process. */
  readonly readyMs: number
  /** From its lease in etcd until the last of the others had its route. */
  readonly followedMs: number
  readonly pings: readonly Ping[]
}

/** A node is taken out for good: its agent is stopped, then its lease removed, as an operator does. */
export async function leave(stage: Stage, node: Node): Promise<Leave> {
  const others = stage.nodes.filter(one => one !== node)
  await node.agent.stop()
  const [other] = others
  const answered = (await other?.pod.ping(node.pod.addresses[0] ?? '', { count: 5 }))?.length ?? 0
  const followers = await Promise.all(others.map(({ name, host }) => follow(name, host.spawn(monitor, utc))))
  const store = await watchStore(stage)
  await stage.etcdctl('del', stage.leaseKey(node))
  const from = await store.arrival(`DELETE\n${stage.leaseKey(node)}\n`)
  const last = await lastOf(followers, node.subnets, 'Deleted ')
  stage.remove(node)
  store.stop()
  await Promise.all(followers.map(({ process }) => process.stop()))
  return { node: node.name, afterAgentEnded: { sent: 5, answered }, followedMs: Math.max(0, last - from) }
}

/** A new node; ready when all of the others have followed. */
export async function join(stage: Stage): Promise<Join> {
  const others = [...stage.nodes]
  const followers = await Promise.all(others.map(({ name, host }) => follow(name, host.spawn(monitor, utc))))
  const store = await watchStore(stage)
  let start = 0
  const [node] = await stage.addNodes(1, () => {
    start = performance.now()
  })
  if (node === undefined) throw new Error('No node was added')
  const readyMs = performance.now() - start
  const from = await store.arrival(`PUT\n${stage.leaseKey(node)}\n`)
  const last = await lastOf(followers, node.subnets, '')
  store.stop()
  await Promise.all(followers.map(({ process }) => process.stop()))
  const pings = await pingAll(stage.nodes, (a, b) => a === node || b === node)
  return { node: node.name, readyMs, followedMs: Math.max(0, last - from), pings }
}

export function showLeave(
  screen: Screen,
  { node, afterAgentEnded, followedMs }: Leave,
  others: number,
): void {
  const { sent, answered } = afterAgentEnded
  screen.heading(`${node} leaves`)
  screen.fact(
    'its agent is stopped',
    `${answered} of ${sent} pings to its pod still answered`,
    'what is in the kernel stays',
  )
  screen.fact(
    'its lease is removed',
    `${followers(others)} followed within ${Math.ceil(followedMs) || 1} ms`,
    'etcdctl del',
  )
}

export function showJoin(screen: Screen, { node, readyMs, followedMs, pings }: Join, others: number): void {
  const good = pings.length - lostPings(pings).length
  screen.heading(`${node} joins`)
  screen.fact('its agent is started', `ready after ${readyMs.toFixed(0)} ms`)
  screen.fact('its lease is in etcd', `${followers(others)} followed within ${Math.ceil(followedMs) || 1} ms`)
  screen.fact('its pod', `${good} of ${pings.length} pairs with it answered`)
}

function followers(others: number): string {
  return others === 1 ? 'the other had' : `all ${others} others had`
}

const monitor = ['ip', '-ts', 'monitor', 'route']
const utc = { env: { TZ: 'UTC' } }

interface Follower {
  readonly name: string
  readonly process: Process
}

/** Ready once its socket has subscribed: /proc/net/netlink shows the groups of a socket by the process's id. */
async function follow(name: string, process: Process): Promise<Follower> {
  const subscribed = () => {
    const rows = readFileSync(`/proc/${process.pid}/net/netlink`, 'utf8')
      .split('\n')
      .map(row => row.trim().split(/\s+/))
    return rows.some(([, , pid, groups]) => pid === `${process.pid}` && groups !== '00000000')
  }
  await until(`ip monitor on ${name}`, subscribed)
  return { name, process }
}

/** When the last of the followers saw the last of the routes, in ms since 1970. Rejects naming who did not. */
async function lastOf(
  followers: readonly Follower[],
  subnets: readonly Prefix[],
  verb: string,
): Promise<number> {
  const wanted = followers.flatMap(follower => subnets.map(subnet => ({ follower, subnet })))
  const times = wanted.map(({ follower: { name, process }, subnet }) =>
    until(
      `${name} to have ${verb === '' ? 'added' : 'deleted'} its route to ${subnet}`,
      () => timeOf(process.text(), `${verb}${subnet} `),
      { withinMs: 20_000 },
    ),
  )
  return Math.max(...(await Promise.all(times)))
}

/** `[2026-11-21T03:22:01.123456] Deleted 10.244.5.0/24 via ...` */
function timeOf(text: string, what: string): number | undefined {
  for (const line of text.split('\n')) {
    const end = line.indexOf('] ')
    if (end < 0 || !line.startsWith(what, end + 2)) continue
    const time = line.slice(1, end)
    return Date.parse(`${time.slice(0, 23)}Z`) + Number(time.slice(23)) / 1000
  }
  return undefined
}

/** What arrives in etcd, with the time at which a watcher has it: in ms since 1970. */
async function watchStore(stage: Stage) {
  const [program = '', ...words] = stage.etcdHost.inside(
    stage.etcdctlCommand('watch', '--prefix', etcdPrefix),
  )
  const watch = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, ETCDCTL_API: '3' },
  })
  // All that was said up to a time: an event may come in pieces.
  const said: { at: number; text: string }[] = []
  watch.stdout.on('data', text => {
    said.push({ at: performance.timeOrigin + performance.now(), text: `${said.at(-1)?.text ?? ''}${text}` })
  })
  // A watch does not say when it has begun: it has, once it shows a change.
  await until('a watch on etcd to begin', async () => {
    await stage.etcdctl('put', `${etcdPrefix}/demo`, 'a probe of the demo')
    return said.length > 0
  })
  return {
    stop: () => watch.kill(),
    arrival: (event: string) =>
      until(`etcd to tell: ${event}`, () => said.find(({ text }) => text.includes(event))?.at),
  }
}
