import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../../../agent/firewall/command.ts'
import { Firewall, type FirewallOptions, removeFirewall } from '../../../agent/firewall/firewall.ts'
import { iptablesChains, printNftTable } from '../../../agent/firewall/rules.ts'
import { type Prefix, parsePrefix } from '../../../lease/net/prefix.ts'
import { Bed, whyNoBed } from '../../support/bed.ts'
import { RecordingLog } from '../../support/log.ts'
import type { Namespace } from '../../support/namespace.ts'

const ipv4 = { network: parsePrefix('10.244.0.0/16'), subnet: parsePrefix('10.244.1.0/24') }
const ipv6 = { network: parsePrefix('fd00:10::/48'), subnet: parsePrefix('fd00:10:0:1::/64') }
const moved = { ...ipv4, subnet: parsePrefix('10.244.7.0/24') }
const wish = { ipMasq: true, randomPorts: true, forwardRules: true, forwardFirst: false, resyncMs: 5_000 }
const never = new AbortController().signal

describe.skipIf(whyNoBed() !== undefined)("the firewall in the kernel's tables", () => {
  let bed: Bed
  let node: Namespace
  let nodes = 0
  beforeAll(async () => {
    bed = await Bed.create({ name: 'firewall' })
  })
  afterAll(() => bed.dispose())

  /** A node with a firewall of its own for each test. `lacks`: programs that are not installed there. */
  async function firewall(
    options: Partial<FirewallOptions>,
    { lacks, overlay = [ipv4, ipv6] }: { lacks?: RegExp; overlay?: readonly (typeof ipv4)[] } = {},
  ) {
    const log = new RecordingLog()
    const restores: string[] = []
    const made = new Firewall(
      { ...wish, nftables: false, ...options },
      overlay,
      log,
      async ([program = '', ...words], input, signal) => {
        if (input !== '') restores.push(program)
        if (lacks?.test(program)) return 'missing'
        return await runCommand(node.inside([program, ...words]), input, signal)
      },
    )
    return { made, log, restores }
  }

  async function newNode(): Promise<void> {
    nodes += 1
    node = await bed.segment(`n${nodes}`, [])
  }

  /** Our rules, as `iptables-save` of both families tells them. */
  async function saved(suffix = ''): Promise<string[]> {
    const texts = await Promise.all(
      ['iptables', 'ip6tables'].map(name => node.exec([`${name}${suffix}-save`])),
    )
    return texts
      .join('')
      .split('\n')
      .filter(line => /^-A .*FLANNEL-/.test(line))
  }

  const bothFamilies = [ipv4, ipv6]
    .flatMap(family => iptablesChains(family, wish).toReversed())
    .flatMap(({ jump, rules }) => [jump, ...rules])

  for (const suffix of ['', '-legacy'] as const) {
    describe(`with iptables${suffix}`, () => {
      it('stands once, is not touched while it stands, and comes back when it is flushed', async () => {
        await newNode()
        // What makes legacy the kind to use: kube-proxy's chain there.
        if (suffix !== '') await node.exec([`iptables${suffix}`, '-t', 'nat', '-N', 'KUBE-POSTROUTING'])
        await node.exec([`iptables${suffix}`, '-A', 'FORWARD', '-i', 'other0', '-j', 'ACCEPT'])
        const { made, log, restores } = await firewall({})
        expect(made.trouble).toBe('the rules that masquerade are not in place yet')
        await made.pass(never)
        expect(made.trouble).toBeUndefined()
        expect((await saved(suffix)).toSorted()).toEqual(bothFamilies.toSorted())
        expect(restores).toEqual([`iptables${suffix}-restore`, `ip6tables${suffix}-restore`])
        for (const program of restores)
          expect(log.traced).toContainEqual({
            fields: { outcome: 0, input: expect.stringContaining('COMMIT') },
            message: expect.stringContaining(`ran ${program} --noflush`),
          })

        await made.pass(never)
        expect(restores).toHaveLength(2)

        await node.exec([`iptables${suffix}`, '-t', 'nat', '-F'])
        await made.pass(never)
        expect((await saved(suffix)).toSorted()).toEqual(bothFamilies.toSorted())
        expect(log.said(/^firewall rules/)).toEqual(['firewall rules written', 'firewall rules repaired'])
        expect(await node.exec([`iptables${suffix}`, '-S', 'FORWARD'])).toContain(
          '-A FORWARD -i other0 -j ACCEPT',
        )
      })
    })
  }

  it('finds the rules of a process before it as they should be', async () => {
    await newNode()
    await (await firewall({})).made.pass(never)
    const { made, restores, log } = await firewall({})
    await made.pass(never)
    expect([restores, log.lines]).toEqual([[], []])
  })

  it('follows this node to another subnet', async () => {
    await newNode()
    const { made } = await firewall({}, { overlay: [ipv4] })
    await made.pass(never)
    made.setOverlay([moved])
    await made.pass(never)
    const text = (await saved()).join('\n')
    expect(text).toContain('10.244.7.0/24')
    expect(text).not.toContain('10.244.1.0/24')
  })

  it('goes from one mode to the other and back, and takes its rules along', async () => {
    await newNode()
    await (await firewall({})).made.pass(never)
    const nft = await firewall({ nftables: true })
    await nft.made.pass(never)
    expect(await saved()).toEqual([])
    expect(nft.log.said('other mode')).toEqual(['firewall rules of the other mode removed'])
    expect(await node.exec(['nft', 'list', 'table', 'ip', 'flannel-ipv4'])).toBe(printNftTable(ipv4, wish))
    expect(await node.exec(['nft', 'list', 'table', 'ip6', 'flannel-ipv6'])).toBe(printNftTable(ipv6, wish))

    await (await firewall({})).made.pass(never)
    expect(await node.exec(['nft', 'list', 'tables'])).not.toContain('flannel')
    expect((await saved()).toSorted()).toEqual(bothFamilies.toSorted())
  })

  for (const nftables of [false, true]) {
    it(`stands beside another network's rules, in ${nftables ? 'nft' : 'iptables'}, and neither touches the other's`, async () => {
      await newNode()
      const other = { network: parsePrefix('10.5.0.0/16'), subnet: parsePrefix('10.5.1.0/24') }
      const rules = async () =>
        (await node.exec(['sh', '-c', 'nft list ruleset; iptables-save; ip6tables-save']))
          .split('\n')
          .map(line => line.replace(/counter packets \d+ bytes \d+|\[\d+:\d+\]/, ''))
          .filter(line => !line.startsWith('#'))
      const remove = (network: Prefix) =>
        removeFirewall([network], never, (command, input, signal) =>
          runCommand(node.inside(command), input, signal),
        )
      const first = await firewall({ nftables }, { overlay: [ipv4] })
      const second = await firewall({ nftables }, { overlay: [other] })
      await first.made.pass(never)
      const alone = await rules()
      await second.made.pass(never)
      const both = await rules()
      for (const { made } of [first, second, first, second]) await made.pass(never)
      expect(await rules()).toEqual(both)
      expect([first.restores, second.restores].map(({ length }) => length)).toEqual([1, 1])
      expect(both.filter(line => line.includes('10.5.0.0/16')).length).toBeGreaterThan(3)
      expect(both).toEqual(expect.arrayContaining(alone))

      // Started again, each finds its own, in either order, also in the other mode.
      for (const overlay of [[other], [ipv4]]) {
        const again = await firewall({ nftables }, { overlay })
        await again.made.pass(never)
        expect(again.restores).toEqual([])
      }
      await (await firewall({ nftables: !nftables }, { overlay: [other] })).made.pass(never)
      expect(await rules()).toEqual(expect.arrayContaining(alone.filter(line => line.includes('10.244.'))))
      await remove(other.network)
      expect((await rules()).filter(line => /FLANNEL|flannel/.test(line))).toEqual(
        alone.filter(line => /FLANNEL|flannel/.test(line)),
      )
      expect(await remove(other.network)).toBe(false)
      expect(await remove(ipv4.network)).toBe(true)
      expect((await rules()).join('\n')).not.toMatch(/FLANNEL|flannel/)
    })
  }

  it('gives way to a flanneld of another network, which clears the chain at its start', async () => {
    await newNode()
    const { made } = await firewall({}, { overlay: [ipv4] })
    await made.pass(never)
    await node.exec(['iptables', '-t', 'nat', '-F', 'FLANNEL-POSTRTG'])
    const flanneld = '-A FLANNEL-POSTRTG -s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE'
    await node.exec(['iptables', '-t', 'nat', ...flanneld.split(' ')])
    await made.pass(never)
    await made.pass(never)
    const lines = await saved()
    expect(lines).toContain(flanneld)
    expect(lines.filter(line => line.startsWith('-A FLANNEL-POSTRTG-'))).toHaveLength(6)
  })

  it('finds the rules of its last life under another network, and replaces them', async () => {
    await newNode()
    const other = { network: parsePrefix('10.5.0.0/16'), subnet: parsePrefix('10.5.1.0/24') }
    await (await firewall({}, { overlay: [other] })).made.pass(never)
    await (await firewall({ previousNetworks: [other.network] }, { overlay: [ipv4] })).made.pass(never)
    expect((await saved()).join('\n')).not.toMatch(/10\.5\.|FLANNEL-\w+-/)
  })

  it('needs no tool of the mode that is not used', async () => {
    await newNode()
    const nft = await firewall({ nftables: true }, { lacks: /iptables|ip6tables/ })
    await nft.made.pass(never)
    expect(nft.made.trouble).toBeUndefined()
    const iptables = await firewall({}, { lacks: /^nft$/ })
    await iptables.made.pass(never)
    expect(iptables.made.trouble).toBeUndefined()
  })

  it('repairs nft rules, and changes nothing where they stand', async () => {
    await newNode()
    const { made, restores } = await firewall({ nftables: true }, { overlay: [ipv4] })
    await made.pass(never)
    await made.pass(never)
    expect(restores).toEqual(['nft'])
    await node.exec(['nft', 'flush', 'chain', 'ip', 'flannel-ipv4', 'postrtg'])
    await made.pass(never)
    expect(await node.exec(['nft', 'list', 'table', 'ip', 'flannel-ipv4'])).toBe(printNftTable(ipv4, wish))
  })

  it('removes what is not wanted any more', async () => {
    await newNode()
    await (await firewall({})).made.pass(never)
    await (await firewall({ ipMasq: false, forwardRules: false })).made.pass(never)
    expect(await saved()).toEqual([])
    await (await firewall({ nftables: true })).made.pass(never)
    await (await firewall({ nftables: true, ipMasq: false, forwardRules: false })).made.pass(never)
    expect(await node.exec(['nft', 'list', 'tables'])).not.toContain('flannel')
  })

  it('is removed whole, once, with nothing else', async () => {
    await newNode()
    await node.exec(['iptables', '-t', 'nat', '-A', 'POSTROUTING', '-o', 'other0', '-j', 'MASQUERADE'])
    await (await firewall({})).made.pass(never)
    const remove = () =>
      removeFirewall([ipv4.network, ipv6.network], never, (command, input, signal) =>
        runCommand(node.inside(command), input, signal),
      )
    expect(await remove()).toBe(true)
    expect(await saved()).toEqual([])
    expect(await node.exec(['iptables', '-t', 'nat', '-S'])).toContain(
      '-A POSTROUTING -o other0 -j MASQUERADE',
    )
    expect(await remove()).toBe(false)
    await (await firewall({ nftables: true })).made.pass(never)
    expect(await remove()).toBe(true)
    expect(await node.exec(['nft', 'list', 'tables'])).not.toContain('flannel')
  })

  it('says which rule cuts pods off, and moves ours before it where it may', async () => {
    await newNode()
    await node.exec(['iptables', '-A', 'FORWARD', '-j', 'REJECT'])
    const { made, log } = await firewall({}, { overlay: [ipv4] })
    await made.pass(never)
    await made.pass(never)
    expect(log.said('pods are cut off')).toEqual([
      "Rule '-A FORWARD -j REJECT --reject-with icmp-port-unreachable' stands before our accepts in FORWARD: " +
        'pods are cut off; --iptables-forward-first moves ours up',
    ])
    const first = await firewall({ forwardFirst: true }, { overlay: [ipv4] })
    await first.made.pass(never)
    await first.made.pass(never)
    expect((await node.exec(['iptables', '-S', 'FORWARD'])).split('\n').slice(0, 3)).toEqual([
      '-P FORWARD ACCEPT',
      '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-A FORWARD -j REJECT --reject-with icmp-port-unreachable',
    ])
    expect([first.restores.length, first.log.said('pods are cut off')]).toEqual([1, []])
  })

  it('says in nft mode where an accept of its own cannot hold', async () => {
    await newNode()
    await node.exec(['iptables', '-P', 'FORWARD', 'DROP'])
    const { made, log } = await firewall({ nftables: true }, { overlay: [ipv4] })
    await made.pass(never)
    expect(log.said('are dropped there')[0]).toMatch(
      /^Packets that ip filter FORWARD does not accept are dropped there/,
    )
  })

  it('tells what to install where it cannot masquerade, and gets over it', async () => {
    await newNode()
    let lacking = true
    const log = new RecordingLog()
    const made = new Firewall({ ...wish, nftables: false }, [ipv4], log, async (command, input, signal) =>
      lacking ? 'missing' : await runCommand(node.inside(command), input, signal),
    )
    await made.pass(never)
    await made.pass(never)
    const text =
      'iptables is not installed: install iptables, or set EnableNFTables to true in the network config'
    expect([made.trouble, log.said('not installed')]).toEqual([text, [text]])
    lacking = false
    const standing = made.inPlace(never)
    await made.pass(never)
    await standing
    expect(made.trouble).toBeUndefined()
  })

  it('is no trouble where nothing is to be masqueraded', async () => {
    await newNode()
    const { made, log } = await firewall({ ipMasq: false }, { lacks: /./ })
    await made.pass(never)
    expect([made.trouble, log.lines.map(({ level }) => level)]).toEqual([undefined, ['warn']])
  })
})
