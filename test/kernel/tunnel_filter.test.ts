import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { type RunCommand, runCommand } from '../../agent/firewall/command.ts'
import { TunnelFilter } from '../../agent/firewall/tunnel_filter.ts'
import { loadNftGeneration } from '../../agent/netlink/nft_generation.ts'
import { type Ip, ipFromNumber } from '../../lease/net/ip.ts'
import { RecordingLog } from '../support/log.ts'
import { enterOwnNetns } from '../support/own_netns.ts'

const whyNot = await enterOwnNetns()
const never = new AbortController().signal
const table = 'inet twill-flannel.1'
/** The first are IPv4, every third is IPv6. */
const peer = (n: number): Ip =>
  n % 3 === 2
    ? ipFromNumber((0xfd00n << 112n) + BigInt(n), 'ipv6')
    : ipFromNumber((172n << 24n) + BigInt(n), 'ipv4')

describe.skipIf(whyNot !== undefined)(`the tunnel filter among many peers ${whyNot ?? ''}`, () => {
  beforeEach(() => {
    nft('flush ruleset')
  })

  it('changes one element for one peer, and looks at no other', async () => {
    const { filter, peers, ran, asked } = await standing(5_000)
    peers.join(5_000)
    await filter.pass(never)
    expect(ran()).toEqual([`add element ${table} peers6 { ${peer(5_000)} }`])
    peers.leave(9)
    await filter.pass(never)
    expect(ran()).toEqual([`delete element ${table} peers4 { ${peer(9)} }`])
    expect(asked()).toEqual({ all: 0, single: 2 })
    expect(listed()).toEqual(peers.addresses())
  })

  it('does not look at the table after its own change, but after one of another program', async () => {
    const { filter, peers, ran } = await standing(3)
    peers.join(3)
    await filter.pass(never)
    ran()
    await filter.pass(never)
    expect(ran()).toEqual([])
    nft(`delete element ${table} peers4 { ${peer(0)} }`)
    await filter.pass(never)
    expect(ran()).toEqual(['nft list table', `add element ${table} peers4 { ${peer(0)} }`])
  })

  it('sees the change of another program that came together with its own', async () => {
    const { filter, peers, during } = await standing(3)
    peers.join(3)
    during(() => nft(`delete element ${table} peers4 { ${peer(0)} }`))
    await filter.pass(never)
    await filter.pass(never)
    expect(listed()).toEqual(peers.addresses())
  })

  it('is right after whatever happened, between two passes and in the middle of one', async () => {
    const n = fc.nat(7)
    const step = fc.oneof(
      fc.record({ act: fc.constantFrom('join' as const, 'leave' as const), n }),
      fc.record({ act: fc.constantFrom('add element' as const, 'delete element' as const), n }),
      fc.record({ act: fc.constant('delete table' as const), n }),
    )
    const walk = fc.array(
      fc.record({ between: fc.array(step, { maxLength: 3 }), amid: fc.array(step, { maxLength: 2 }) }),
      {
        maxLength: 6,
      },
    )
    await fc.assert(
      fc.asyncProperty(walk, async turns => {
        nft('flush ruleset')
        const { filter, peers, during } = await standing(4)
        const take = ({ act, n }: { act: string; n: number }) => {
          if (act === 'join') peers.join(n)
          else if (act === 'leave') peers.leave(n)
          else if (act === 'delete table') quietly(`delete table ${table}`)
          else quietly(`${act} ${table} ${n % 3 === 2 ? 'peers6' : 'peers4'} { ${peer(n)} }`)
        }
        for (const { between, amid } of turns) {
          between.forEach(take)
          during(() => amid.forEach(take))
          await filter.pass(never)
          // One that failed on what another program did looks again; one that was disturbed is followed by another.
          for (let i = 0; i < 3; i++) await filter.pass(never)
          expect(listed()).toEqual(peers.addresses())
        }
      }),
      { numRuns: 10 },
    )
  })
})

/** A filter that has found its table right, with so many peers. */
async function standing(count: number) {
  const present = new Set(Array.from({ length: count }, (_, n) => peer(n)))
  const asked = { all: 0, single: 0 }
  const commands: string[] = []
  let meanwhile = () => {}
  const run: RunCommand = async (command, input, signal) => {
    commands.push(input === '' ? command.slice(0, 3).join(' ') : input.trim())
    const act = meanwhile
    meanwhile = () => {}
    act()
    return await runCommand(command, input, signal)
  }
  const tunnelPeers = {
    get publicIps() {
      asked.all += 1
      return new Set(present)
    },
    hasPublicIp: (ip: Ip) => {
      asked.single += 1
      return present.has(ip)
    },
  }
  const tunnel = () => ({ device: 'flannel.1', vni: 1, port: 8472, underlay: 'eth0', peers: tunnelPeers })
  const nftGeneration = await loadNftGeneration()
  const filter = new TunnelFilter({ resyncMs: 0, nftGeneration, tunnel, log: new RecordingLog(), run })
  await filter.pass(never)
  await filter.pass(never)
  const ran = () => commands.splice(0)
  ran()
  Object.assign(asked, { all: 0, single: 0 })
  const change = (n: number, act: 'add' | 'delete') => {
    present[act](peer(n))
    filter.touch(peer(n))
  }
  return {
    filter,
    ran,
    asked: () => asked,
    /** Once, right before the next run of a tool. */
    during: (act: () => void) => {
      meanwhile = act
    },
    peers: {
      join: (n: number) => change(n, 'add'),
      leave: (n: number) => change(n, 'delete'),
      addresses: () => [...present].sort(),
    },
  }
}

function listed(): readonly string[] {
  const text = execFileSync('nft', ['list', 'table', ...table.split(' ')], { encoding: 'utf8' })
  const lists = [...text.matchAll(/elements = \{([^}]*)\}/g)].map(([, list = '']) => list.split(','))
  return lists
    .flat()
    .map(element => element.trim())
    .sort()
}

function nft(words: string): void {
  execFileSync('nft', [words], { stdio: 'pipe' })
}

function quietly(words: string): void {
  try {
    nft(words)
  } catch {}
}
