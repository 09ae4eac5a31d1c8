import { execFileSync } from 'node:child_process'
import { beforeEach, describe, expect, it } from 'vitest'
import { type RunCommand, runCommand } from '../../agent/firewall/command.ts'
import { Firewall } from '../../agent/firewall/firewall.ts'
import { loadNftGeneration } from '../../agent/netlink/nft_generation.ts'
import { parsePrefix } from '../../lease/net/prefix.ts'
import { RecordingLog } from '../support/log.ts'
import { enterOwnNetns } from '../support/own_netns.ts'

const whyNot = await enterOwnNetns()
const network = parsePrefix('10.244.0.0/16')
const overlay = [{ network, subnet: parsePrefix('10.244.1.0/24') }]
const wish = { ipMasq: true, randomPorts: true, forwardRules: true, forwardFirst: false, resyncMs: 5_000 }
const never = new AbortController().signal

describe.skipIf(whyNot !== undefined)(`the generation of nftables ${whyNot ?? ''}`, () => {
  beforeEach(() => {
    nft('flush ruleset')
    for (const table of ['nat', 'filter'])
      shell(`iptables-legacy -t ${table} -F; iptables-legacy -t ${table} -X`)
  })

  it('is another one after each change, whichever program makes it, and the same after a look', async () => {
    const generation = await loadNftGeneration()
    const seen = [generation()]
    for (const change of ['nft add table ip other', 'iptables-nft -N OTHER', 'ip6tables-nft -N OTHER']) {
      shell(change)
      seen.push(generation())
    }
    expect(new Set(seen).size).toBe(4)
    shell('nft list ruleset; iptables-nft -S; ip6tables-nft -t nat -S POSTROUTING')
    expect(generation()).toBe(seen.at(-1))
  })

  for (const nftables of [true, false])
    it(`spares ${nftables ? 'nft' : 'iptables-nft'} all runs while nothing changes, and hides no change`, async () => {
      const { firewall, ran, log } = await standing(nftables)
      for (let i = 0; i < 10; i++) await firewall.pass(never)
      expect(ran()).toBe(0)

      nft('flush ruleset')
      await firewall.pass(never)
      expect(execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' })).toContain('10.244.1.0/24')
      expect(log.said(/^firewall rules/)).toEqual(['firewall rules written', 'firewall rules repaired'])
      expect(firewall.trouble).toBeUndefined()
    })

  it('spares none where a change was another program’s, or this node moved', async () => {
    const { firewall, ran } = await standing(false)
    nft('add table ip other')
    await firewall.pass(never)
    expect(ran()).toBeGreaterThan(0)
    const before = ran()
    firewall.setOverlay([{ network, subnet: parsePrefix('10.244.7.0/24') }])
    await firewall.pass(never)
    expect(ran()).toBeGreaterThan(before)
  })

  it('says nothing of iptables-legacy, which is looked at each time', async () => {
    shell('iptables-legacy -t nat -N KUBE-POSTROUTING')
    const { firewall } = await standing(false)
    shell('iptables-legacy -t nat -F')
    await firewall.pass(never)
    expect(shell('iptables-legacy -t nat -S')).toContain('10.244.1.0/24')
  })
})

/** A firewall whose rules are found in place, and how many tools it has run since. */
async function standing(nftables: boolean) {
  let count = 0
  const run: RunCommand = async (...what) => {
    count += 1
    return await runCommand(...what)
  }
  const log = new RecordingLog()
  const nftGeneration = await loadNftGeneration()
  const firewall = new Firewall({ ...wish, nftables, nftGeneration }, overlay, log, run)
  await firewall.pass(never)
  await firewall.pass(never)
  const before = count
  return { firewall, log, ran: () => count - before }
}

function nft(words: string): void {
  execFileSync('nft', [words])
}

function shell(script: string): string {
  return execFileSync('sh', ['-c', script], { encoding: 'utf8' })
}
