import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseJoinToken } from '../../lease/join_token.ts'
import type { Agent } from '../support/agent.ts'
import { Bed, whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { untilReached } from '../support/pings.ts'
import type { Segment } from '../support/segment.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('hosts that run members of one etcd', () => {
  let bed: Bed
  let lan: Segment
  beforeEach(async () => {
    bed = await Bed.create({ name: 'members' })
    lan = await bed.segment('lan', ['192.168.51.0/24'])
  })
  afterEach(() => bed.dispose())

  it('let the first host die: members, agents that run and agents that start again find the others', async () => {
    const [h1, h2, h3, h4, h5] = await Promise.all(
      ['h1', 'h2', 'h3', 'h4', 'h5'].map(name => bed.host(name, lan)),
    )
    if (!h1 || !h2 || !h3 || !h4 || !h5) throw new Error('five hosts are needed')
    const first = await h1.startAgent({ endpoints: [], flags: ['--embedded-etcd', folder(h1)] })
    // Joined while the token named the first host alone.
    const early = join(h4.directory, 'token')
    copyFileSync(tokenFile(h1), early)
    const old = await h4.startAgent({ endpoints: [], flags: [`--join=${early}`] })
    const second = await addMember(h2, early, /etcd has 2 members and needs both/)
    await addMember(h3, tokenFile(h1), /etcd has 3 members and can lose 1/)
    await until(
      'the old agent to know the members',
      () => cached(h4).includes(`https://${h3.address()}:2379`),
      {
        withinMs: 150_000,
      },
    )

    const named = () => parseJoinToken(readFileSync(tokenFile(h2), 'utf8').trim()).endpoints
    await until('the token to name all members', () => named().length === 3, { withinMs: 60_000 })

    await first.kill9()
    await h1.ip(['link set eth0 down'])
    const late = await h5.startAgent({ endpoints: [], flags: [`--join=${tokenFile(h2)}`] })
    await until(
      'the old agent to see the new one',
      () => old.process.text().includes(`at ${h5.address()}"`),
      { withinMs: 60_000 },
    )
    await pingBetween(h4, h5)
    // A member finds its cluster again though its token names the lost host alone.
    await second.stop()
    await addMember(h2, early, /etcd has 3 members and can lose 1/)
    const subnet = h4.subnetEnv().FLANNEL_SUBNET
    await old.stop()
    const again = await h4.startAgent({ endpoints: [], flags: [`--join=${early}`] })
    const metrics = async () => (await h4.httpGet(8081, '/metrics'))?.body ?? ''
    await until('the restarted agent to reach etcd', async () =>
      /^twill_since_store_contact_seconds \d/m.test(await metrics()),
    )
    expect(h4.subnetEnv().FLANNEL_SUBNET).toBe(subnet)
    await late.stop()
    await again.stop()
  }, 300_000)

  it('take a member in again that restarts, and one that has lost its data', async () => {
    const [h1, h2, h3] = [await bed.host('h1', lan), await bed.host('h2', lan), await bed.host('h3', lan)]
    await h1.startAgent({ endpoints: [], flags: ['--embedded-etcd', folder(h1)] })
    const member = await addMember(h2, tokenFile(h1), /etcd has 2 members/)
    await member.stop()
    await addMember(h2, tokenFile(h1), /etcd has 2 members/)
    const lost = await addMember(h3, tokenFile(h1), /etcd has 3 members/)
    await lost.stop()
    rmSync(join(h3.directory, 'etcd'), { recursive: true })
    await addMember(h3, tokenFile(h1), /etcd has 3 members/)
  }, 180_000)

  async function addMember(host: Host, token: string, says: RegExp): Promise<Agent> {
    const agent = await host.startAgent({
      endpoints: [],
      flags: ['--member', `--join=${token}`, folder(host)],
    })
    await agent.logs(says, 60_000)
    return agent
  }

  function folder(host: Host): string {
    return `--embedded-etcd-dir=${join(host.directory, 'etcd')}`
  }

  function tokenFile(host: Host): string {
    return join(host.directory, 'etcd', 'join-token')
  }

  function cached(host: Host): string {
    try {
      return readFileSync(join(host.directory, 'leases.json'), 'utf8')
    } catch {
      return ''
    }
  }

  async function pingBetween(from: Host, to: Host): Promise<void> {
    const [a, b] = [await from.pod(), await to.pod()]
    await untilReached(a, b.address())
  }
})
