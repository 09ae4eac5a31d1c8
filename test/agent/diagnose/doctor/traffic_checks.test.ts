import { describe, expect, it } from 'vitest'
import { trafficChecks } from '../../../../agent/diagnose/doctor/traffic_checks.ts'
import { parseLinks } from '../../../../agent/inspect/iproute2_json.ts'
import { run } from '../../../support/exec.ts'
import { hostFacts, nodeView, patient } from '../../../support/patient.ts'

const found = (...given: Parameters<typeof patient>) =>
  trafficChecks(patient(...given)).map(({ check, severity }) => `${check} ${severity}`)

describe("doctor's look at pods' traffic", () => {
  it.each([
    ['1000', '262144', []],
    ['250000', '262144', ['conntrack risk']],
    ['262144', '262144', ['conntrack broken']],
    [undefined, undefined, []],
  ])('sees a table of connections that is full: %s of %s', (count, max, expected) => {
    const sysctls = {
      ...(count === undefined ? {} : { 'net.netfilter.nf_conntrack_count': count }),
      ...(max === undefined ? {} : { 'net.netfilter.nf_conntrack_max': max }),
    }
    expect(found({ facts: hostFacts({ sysctls }) })).toEqual(expected)
  })

  it.each([
    ['host-gw', ['POINTOPOINT', 'NOARP', 'UP', 'LOWER_UP'], ['direct routes risk']],
    ['host-gw', ['BROADCAST', 'UP', 'LOWER_UP'], []],
    ['vxlan', ['POINTOPOINT', 'NOARP', 'UP', 'LOWER_UP'], []],
  ])('sees direct routes over a device that knows no neighbors: %s over %s', (type, flags, expected) => {
    const links = parseLinks([{ ifname: 'eth0', mtu: 1420, flags }])
    expect(found({ view: nodeView({ Type: type }), facts: hostFacts({ links }) })).toEqual(expected)
  })

  it.each([
    ['of this network', 'ip flannel-ipv4', 'ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade', []],
    ['of an administrator', 'inet nat', 'ip saddr 10.244.0.0/16 masquerade fully-random', []],
    ['of another network of this host', 'ip flannel-ipv4-1a2b3c4d', 'ip saddr 10.9.0.0/16 masquerade', null],
    ['of the other family', 'ip6 flannel-ipv6', 'ip6 saddr fd00::/48 masquerade', null],
    ['of kube-proxy', 'ip kube-proxy', 'mark and 0x4000 == 0x4000 masquerade fully-random', null],
    ['of Docker', 'ip docker', 'ip saddr 172.17.0.0/16 oifname != docker0 masquerade', null],
    ['of all but this network', 'ip other', 'ip saddr != 10.244.0.0/16 masquerade', null],
  ])(
    'takes for the agent’s masquerading no nft rule but that of its network: %s',
    async (_, name, rule, none) => {
      const hook = 'type nat hook postrouting priority srcnat;'
      const input = `table ${name} {\n chain postrtg {\n ${hook}\n ${rule}\n }\n}\n`
      const load = ['unshare', '--net', 'sh', '-ec', 'nft -f -; nft -j list ruleset']
      const nftables: unknown = JSON.parse(await run(load, { input }))
      const files = { ...patient().files, ipMasq: true }
      expect(found({ files, agent: undefined, facts: hostFacts({ nftables }) })).toEqual(
        none ?? ['masquerading risk'],
      )
    },
  )

  it('sees that the rules of an agent are gone, where no agent writes them again', () => {
    const { files } = patient()
    const masquerading = { ...files, ipMasq: true }
    const rule = '-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully'
    const iptables = [{ family: 'ipv4' as const, command: 'iptables-save', text: `*nat\n${rule}\nCOMMIT\n` }]
    expect(found({ files: masquerading, agent: undefined })).toEqual(['masquerading risk'])
    expect(found({ files: masquerading, agent: undefined, facts: hostFacts({ iptables }) })).toEqual([])
    expect(found({ files: masquerading })).toEqual([])
    expect(found({ files, agent: undefined })).toEqual([])
    const unseen = ["'iptables-save': not installed"]
    expect(found({ files: masquerading, agent: undefined, facts: hostFacts({ unseen }) })).toEqual([])
  })
})
