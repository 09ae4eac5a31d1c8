import { setTimeout as sleep } from 'node:timers/promises'
import type { EtcdServer } from '../support/etcd.ts'
import type { Host } from '../support/host.ts'
import { ofAddresses } from './address_faults.ts'
import type { Resident } from './citizen.ts'
import type { Fault } from './fault.ts'
import { foreignValue } from './foreign.ts'
import type { Stage } from './stage.ts'
import type { WireMode } from './wire.ts'

export function faults({ dataLoss }: { dataLoss: number }): readonly Fault[] {
  return [
    ...ofMembers,
    ...ofWires,
    ...ofAgents,
    ...ofAddresses,
    ...ofKeys,
    { name: 'all data lost', weight: dataLoss, ofEtcd: true, strike: loseData },
    { name: 'older snapshot restored', weight: 2 * dataLoss, ofEtcd: true, strike: restoreSnapshot },
  ]
}

const ofMembers: readonly Fault[] = [
  { name: 'member killed', weight: 2, ofEtcd: true, strike: stage => kill(randomMember(stage)) },
  { name: 'leader killed', weight: 3, ofEtcd: true, strike: async stage => kill(await leader(stage)) },
  { name: 'all members killed', weight: 2, ofEtcd: true, away: true, strike: stage => onAll(stage, kill) },
  { name: 'member frozen', weight: 2, ofEtcd: true, strike: stage => freeze(randomMember(stage)) },
  { name: 'leader frozen', weight: 3, ofEtcd: true, strike: async stage => freeze(await leader(stage)) },
  { name: 'all members frozen', weight: 2, ofEtcd: true, away: true, strike: stage => onAll(stage, freeze) },
  {
    name: 'leader cut off',
    weight: 3,
    ofEtcd: true,
    strike: async stage => cutOff(stage, hostOf(stage, await leader(stage))),
  },
  {
    name: 'member cut off',
    weight: 2,
    ofEtcd: true,
    strike: stage => cutOff(stage, stage.random.one(stage.hosts)),
  },
  {
    name: 'leader cut off from its peers',
    weight: 3,
    ofEtcd: true,
    strike: async stage => cutFromPeers(stage, hostOf(stage, await leader(stage))),
  },
  { name: "member's answers dropped", weight: 2, ofEtcd: true, strike: dropAnswers },
  { name: "member's cable pulled", weight: 1, ofEtcd: true, strike: pullCable },
  { name: 'out of space', weight: 1, ofEtcd: true, strike: fillUp },
]

const ofWires: readonly Fault[] = [
  { name: 'agents cut off', weight: 3, strike: stage => wires(stage, 'cut') },
  { name: 'agents held past their leases', weight: 4, strike: stage => wires(stage, 'held') },
  { name: 'answers to agents held', weight: 3, strike: stage => wires(stage, 'deaf') },
  { name: 'slow answers', weight: 3, strike: slow },
  { name: 'all agents cut off', weight: 1, away: true, strike: stage => allWires(stage, 'cut') },
  { name: 'all packets dropped', weight: 1, away: true, strike: stage => allWires(stage, 'held') },
  { name: 'compacted behind held agents', weight: 3, strike: compactBehind },
]

const ofAgents: readonly Fault[] = [
  { name: 'process of agents frozen', weight: 4, strike: freezeHouse },
  { name: 'agents crashed', weight: 3, strike: stage => crash(stage, false) },
  { name: 'agents crashed and forgot', weight: 3, strike: stage => crash(stage, true) },
  { name: 'agents restarted at once', weight: 2, strike: restart },
  { name: 'clocks jumped', weight: 1, strike: jumpClocks },
]

const ofKeys: readonly Fault[] = [
  { name: 'key deleted', weight: 3, strike: deleteKeys },
  { name: 'etcd lease revoked', weight: 3, strike: revokeLeases },
  { name: 'key overwritten', weight: 3, strike: overwriteKeys },
]

async function kill(member: EtcdServer): Promise<string> {
  await member.stop('SIGKILL')
  return member.host
}

function freeze(member: EtcdServer): Promise<string> {
  member.pause()
  return Promise.resolve(member.host)
}

async function onAll(stage: Stage, act: (member: EtcdServer) => Promise<string>): Promise<string> {
  return (await Promise.all(stage.members.map(act))).join(' ')
}

async function cutOff({ lan }: Stage, host: Host): Promise<string> {
  await lan.cut(host)
  return host.name
}

async function cutFromPeers({ lan, hosts }: Stage, host: Host): Promise<string> {
  for (const other of hosts) if (other !== host) await lan.cut(host, other)
  return host.name
}

async function dropAnswers({ lan, hosts, random }: Stage): Promise<string> {
  const host = random.one(hosts)
  await lan.cutOneWay(host, undefined)
  return host.name
}

async function pullCable({ lan, hosts, random }: Stage): Promise<string> {
  const host = random.one(hosts)
  await lan.unplug(host)
  return host.name
}

/** Until etcd raises its alarm; every write is refused from then on. */
async function fillUp(stage: Stage): Promise<string> {
  stage.isOutOfSpace = true
  const ballast = 'x'.repeat(1_400_000)
  for (let i = 0; i < 40; i++) {
    const full = await stage.gateway.put('/ballast', ballast).then(
      () => false,
      error => /space exceeded/.test(String(error)),
    )
    if (full) return 'all members'
  }
  throw new Error('etcd would not fill up')
}

async function loseData(stage: Stage): Promise<string> {
  const sameCluster = stage.random.chance(0.4)
  await stage.loseData({ sameCluster })
  return sameCluster ? 'same cluster id' : 'another cluster id'
}

/**
 * One taken a moment ago is newer than what most agents were last answered, though not than what they heard since. Writes while
 * no agent looks bring the new history beyond the revisions that they know.
 */
async function restoreSnapshot(stage: Stage): Promise<string> {
  const { random, observer, gateway } = stage
  const [isFresh, isOutgrown, isOtherCluster] = [0.4, 0.4, 0.2].map(p => random.chance(p))
  if (isFresh) {
    await stage.takeSnapshot()
    await deleteKeys(stage)
    await sleep(500)
  }
  if (isOutgrown) await allWires(stage, 'cut')
  const known = observer.revision
  const age = await stage.restoreSnapshot({ isFresh, isOtherCluster })
  if (isOutgrown) {
    for (let revision = 0; revision <= known; ) revision = await gateway.put('/filler', '')
    await allWires(stage, 'open')
  }
  const taken = isFresh ? 'taken half a second ago' : `taken ${age} rounds ago`
  return `${taken}${isOutgrown ? ', outgrown' : ''}${isOtherCluster ? ', another cluster id' : ''}`
}

function wires(stage: Stage, mode: WireMode): Promise<string> {
  const struck = someAgents(stage)
  for (const { wires } of struck) for (const wire of wires) wire.set(mode)
  return named(struck)
}

function allWires({ citizens }: Stage, mode: WireMode): Promise<string> {
  for (const { wires } of citizens) for (const wire of wires) wire.set(mode)
  return Promise.resolve('all agents')
}

function slow(stage: Stage): Promise<string> {
  const struck = someAgents(stage)
  for (const { wires } of struck) for (const wire of wires) wire.set('open', stage.random.whole(100, 1_500))
  return named(struck)
}

/** While they hear nothing, others write, and what they would have resumed from is gone. */
async function compactBehind(stage: Stage): Promise<string> {
  const struck = someAgents(stage)
  for (const { wires } of struck) for (const wire of wires) wire.set('held')
  await deleteKeys(stage)
  await sleep(600)
  await stage.gateway.compact(stage.observer.revision)
  return named(struck)
}

function freezeHouse({ house }: Stage): Promise<string> {
  house.freeze()
  return named(house.residents)
}

async function crash(stage: Stage, forgetful: boolean): Promise<string> {
  const struck = someAgents(stage)
  await Promise.all(struck.map(citizen => citizen.crash()))
  if (forgetful) for (const citizen of struck) citizen.lastKey = undefined
  return named(struck)
}

async function restart(stage: Stage): Promise<string> {
  const struck = someAgents(stage)
  await Promise.all(struck.map(citizen => citizen.crash()))
  for (const citizen of struck) citizen.start()
  return named(struck)
}

function jumpClocks(stage: Stage): Promise<string> {
  const struck = someAgents(stage)
  for (const { name } of struck) stage.clockOffsets.set(name, stage.random.whole(-3600_000, 3600_000))
  return named(struck)
}

async function deleteKeys(stage: Stage): Promise<string> {
  const keys = someKeys(stage)
  stage.record({ what: 'operator', at: performance.now(), keys })
  await Promise.all(keys.map(key => stage.gateway.remove(stage.folder + key)))
  return keys.join(' ')
}

async function revokeLeases(stage: Stage): Promise<string> {
  const chosen = new Set(someKeys(stage).map(key => stage.folder + key))
  const found = (await stage.gateway.list(stage.folder)).filter(
    kv => chosen.has(kv.key) && kv.leaseId !== '0',
  )
  const keys = found.map(({ key }) => key.slice(stage.folder.length))
  stage.record({ what: 'operator', at: performance.now(), keys })
  await Promise.all(found.map(({ leaseId }) => stage.gateway.revoke(leaseId)))
  return keys.join(' ')
}

/** As a flanneld that believes that the subnet is still its own. */
async function overwriteKeys(stage: Stage): Promise<string> {
  const keys = someKeys(stage)
  for (const [i, key] of keys.entries()) {
    const leaseId = await stage.gateway.grant(stage.scale.ttlSeconds)
    await stage.gateway.put(stage.folder + key, foreignValue(`203.0.113.${i + 1}`, stage.dual), leaseId)
  }
  return keys.join(' ')
}

function someAgents({ citizens, random }: Stage): Resident[] {
  const running = citizens.filter(citizen => citizen.isRunning)
  return random.some(running, random.whole(1, Math.ceil(citizens.length / 3)))
}

function someKeys({ state, random }: Stage): string[] {
  return random.some([...state.standing.keys()], random.whole(1, 4))
}

function named(struck: readonly Resident[]): Promise<string> {
  return Promise.resolve(struck.map(({ name }) => name.slice(name.lastIndexOf('-') + 1)).join(' '))
}

function randomMember({ members, random }: Stage): EtcdServer {
  return random.one(members)
}

function leader({ cluster }: Stage): Promise<EtcdServer> {
  return cluster.leader()
}

function hostOf({ members, hosts }: Stage, member: EtcdServer): Host {
  const host = hosts[members.indexOf(member)]
  if (!host) throw new Error(`${member.host} is on no host`)
  return host
}
