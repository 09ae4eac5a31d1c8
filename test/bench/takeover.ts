import { setTimeout as sleep } from 'node:timers/promises'
import { readBackendData } from '../../lease/backend_data.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import { encodeLeaseValue, encodeSubnetKey } from '../../lease/wire.ts'
import type { Agent } from '../support/agent.ts'
import { type HandMade, wireByHand } from '../support/hand_made.ts'
import { BenchBed } from './bed.ts'
import { type Carried, Flow } from './flow.ts'
import type { Row } from './row.ts'

const PACKETS = 60_000
const TIMES = 4

/** g: what pods notice while their node's agent ends, is killed, or takes over from another program. */
export async function* takeover(): AsyncGenerator<Row> {
  let undisturbed: Carried
  {
    await using bed = await BenchBed.create({ hosts: 2 })
    let [agent] = await Promise.all(bed.hosts.map(host => bed.startAgent([], host)))
    await using flow = await pods(bed)
    undisturbed = await flow.carry(async () => {}, PACKETS / 4)
    const again = async (end: (agent: Agent) => Promise<unknown>) => {
      if (agent !== undefined) await end(agent)
      await sleep(500)
      agent = await bed.startAgent()
    }
    const restarts = () => spread(TIMES, () => again(agent => agent.stop()))
    yield* rows(`${TIMES} restarts`, await flow.carry(restarts, PACKETS), undisturbed)
    const kills = () => spread(TIMES, () => again(agent => agent.kill9()))
    yield* rows(`${TIMES} kills (-9)`, await flow.carry(kills, PACKETS), undisturbed)
  }
  await using bed = await BenchBed.create({ hosts: 2 })
  const wired = await wireByHand(bed.hosts)
  await bed.put(await Promise.all(wired.map(asFlanneldStores)))
  await using flow = await pods(bed)
  const takeOver = async () => {
    for (const host of bed.hosts) {
      await sleep(2_000)
      await bed.startAgent([], host)
    }
  }
  yield* rows('taking over what flanneld left', await flow.carry(takeOver, PACKETS), undisturbed)
}

function* rows(what: string, { sent, lost, longestStallMs }: Carried, reference: Carried): Iterable<Row> {
  const note = `of ${sent.toLocaleString('en-US')}`
  const name = `g  ${what}`
  yield { name: `${name}: lost`, value: lost, unit: 'packets', reference: reference.lost, target: 0, note }
  const stall = { value: longestStallMs, unit: 'ms', reference: reference.longestStallMs, target: 100 }
  yield { name: `${name}: longest TCP stall`, ...stall }
}

async function pods(bed: BenchBed): Promise<Flow> {
  const [from, to] = await Promise.all(bed.hosts.map(host => host.pod()))
  if (from === undefined || to === undefined) throw new Error('Two hosts are needed')
  return await Flow.between(from, to)
}

async function spread(times: number, act: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < times; i++) {
    await sleep(3_000)
    await act()
  }
}

async function asFlanneldStores({ host, subnets }: HandMade): Promise<{ key: string; value: string }> {
  const [link] = JSON.parse(await host.exec(['ip', '-json', 'link', 'show', 'flannel.1'])) as {
    address: Mac
  }[]
  const backendData = [readBackendData({ VNI: 1, VtepMAC: link?.address })]
  const publicIps: Ip[] = [host.address()]
  return {
    key: encodeSubnetKey(subnets),
    value: encodeLeaseValue({ publicIps, backendType: 'vxlan', backendData }),
  }
}
