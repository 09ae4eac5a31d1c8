import { setTimeout as sleep } from 'node:timers/promises'
import type { Resident } from './citizen.ts'
import type { Fault } from './fault.ts'
import { addresses, type Stage } from './stage.ts'

/** No agent has the number, and so no agent has the address from its start. */
const VIRTUAL = addresses(250)
/** Until a keepalived that was cut off gives up the address that another one has taken. */
const OVERLAP_MS = 2_000

/** An address is no identity: DHCP gives it to another host, a virtual IP moves, two hosts are set up with the same one. */
export const ofAddresses: readonly Fault[] = [
  { name: 'address of a node that is off', weight: 3, strike: swapWithOneThatIsOff },
  { name: 'virtual IP moved', weight: 2, strike: stage => moveVirtualIp(stage, 0) },
  { name: 'virtual IP on two nodes', weight: 2, strike: stage => moveVirtualIp(stage, OVERLAP_MS) },
  { name: 'public IP doubled', weight: 3, strike: double },
]

/** For good: the node that was off gets the other's former address when it is back. */
async function swapWithOneThatIsOff(stage: Stage): Promise<string> {
  const [on, off] = two(stage)
  const [wasOn, wasOff] = [stage.homes.get(on) ?? [], stage.homes.get(off) ?? []]
  await off.crash()
  stage.homes.set(on, wasOff).set(off, wasOn)
  stage.readdress(on, wasOff)
  stage.readdress(off, wasOn)
  return `${on.name} has that of ${off.name}`
}

/** A node publishes it while it has it, and its own address once it is gone. */
async function moveVirtualIp(stage: Stage, overlapMs: number): Promise<string> {
  const [from, to] = two(stage)
  stage.readdress(from, VIRTUAL)
  await sleep(stage.random.whole(200, 1_500))
  if (overlapMs === 0) stage.readdress(from, stage.homes.get(from) ?? [])
  stage.readdress(to, VIRTUAL)
  await sleep(overlapMs)
  stage.readdress(from, stage.homes.get(from) ?? [])
  return `from ${from.name} to ${to.name}`
}

function double(stage: Stage): Promise<string> {
  const [one, other] = two(stage)
  stage.readdress(other, one.publicIps)
  return Promise.resolve(`that of ${one.name} on ${other.name} too`)
}

/** Two that run. Throws where there are not so many. */
function two({ citizens, random }: Stage): readonly [Resident, Resident] {
  const running = citizens.filter(citizen => citizen.isRunning)
  const [one, other] = random.some(running, 2)
  if (!one || !other) throw new Error('fewer than two agents run')
  return [one, other]
}
