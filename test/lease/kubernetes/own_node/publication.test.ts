import { describe, expect, it } from 'vitest'
import { annotationNames } from '../../../../lease/kubernetes/nodes/annotations.ts'
import { Annotations, type NodeObject } from '../../../../lease/kubernetes/nodes/node_object.ts'
import {
  differences,
  ownLease,
  ownPrefixes,
  type Publication,
  previousLease,
  printOwnPrefixes,
  wantedAnnotations,
} from '../../../../lease/kubernetes/own_node/publication.ts'
import { printLease } from '../../../../lease/lease.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { parseMac } from '../../../../lease/net/mac.ts'
import { parsePrefix } from '../../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../../lease/network_config/parser.ts'
import { LeaseRefusedError } from '../../../../lease/store.ts'

const names = annotationNames('flannel.alpha.coreos.com')
const file = '/etc/net-conf.json'
const network = parseNetworkConfig(
  '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd10:244::/32","Backend":{"Type":"vxlan"}}',
  { subnets: 'assigned' },
)
const mac = '02:00:00:00:00:01'
const publication: Publication = {
  podCidrs: ['10.244.1.0/24', 'fd10:244:0:1::/64'],
  backendType: 'vxlan',
  publicIps: [parseIp('192.168.0.1'), parseIp('fd50::1')],
  backendData: [{ vni: 1, mac: parseMac(mac) }, undefined],
}
const prefixes = publication.podCidrs.map(parsePrefix)

function node(podCidrs: readonly string[], annotations: ReadonlyMap<string, string> = new Map()): NodeObject {
  const kept = new Annotations(names.all, name => annotations.get(name))
  return { name: 'n1', uid: 'u', resourceVersion: '1', createdMs: 7, annotations: kept, podCidrs }
}

describe('the podCIDRs of the own Node', () => {
  it('are one for each family of the network, in its order', () => {
    expect(ownPrefixes(node(publication.podCidrs.toReversed()), network, file)).toEqual(prefixes)
  })

  it.each([
    [
      ['10.244.1.0/24'],
      /podCIDRs 10\.244\.1\.0\/24 hold none for IPv6Network fd10:244::\/32 of \/etc\/net-conf\.json/,
    ],
    [[], /hold none for Network 10\.244\.0\.0\/16/],
    [['10.9.1.0/24', 'fd10:244:0:1::/64'], /podCIDR 10\.9\.1\.0\/24 is outside of Network 10\.244\.0\.0\/16/],
    [['10.244.1.0/24', '10.244.2.0/24'], /hold more than one of a family/],
    [['10.244.1/24'], /^Cannot lease a subnet to Node n1: Cannot parse IP address '10\.244\.1'/],
  ])('are refused where no pod could be reached by them: %s', (podCidrs, why) => {
    const refused = () => ownPrefixes(node(podCidrs), network, file)
    expect(refused).toThrow(LeaseRefusedError)
    expect(refused).toThrow(why)
    expect(printOwnPrefixes(node(podCidrs), network, file)).toBe(podCidrs.join(', ') || 'none')
  })
})

describe('the annotations of the own Node', () => {
  const wanted = wantedAnnotations(publication, names)

  it('are written as flannel splits them, byte for byte', () => {
    expect(Object.fromEntries(wanted)).toEqual({
      [names.manager]: 'true',
      [names.backendType]: 'vxlan',
      [names.podCidrs]: '10.244.1.0/24,fd10:244:0:1::/64',
      [names.families.ipv4.publicIp]: '192.168.0.1',
      [names.families.ipv4.backendData]: `{"VNI":1,"VtepMAC":"${mac}"}`,
      [names.families.ipv6.publicIp]: 'fd50::1',
      [names.families.ipv6.backendData]: 'null',
    })
  })

  it('are patched only where they are missing or have another value', () => {
    const changed = new Map(wanted).set(names.families.ipv4.publicIp, '192.168.0.66')
    changed.delete(names.backendType)
    const patch = differences(node(publication.podCidrs, changed), wanted)
    expect(Object.fromEntries(patch)).toEqual({
      [names.backendType]: 'vxlan',
      [names.families.ipv4.publicIp]: '192.168.0.1',
    })
    expect(differences(node(publication.podCidrs, wanted), wanted).size).toBe(0)
  })

  it('give the lease back that they were made of', () => {
    const written = node(publication.podCidrs, wanted)
    const lease = ownLease(written, prefixes, publication)
    expect(printLease(lease)).toBe('10.244.1.0/24 + fd10:244:0:1::/64 at 192.168.0.1 + fd50::1')
    expect(previousLease(written, prefixes, [], names)).toEqual(lease)
  })

  it('give the MAC back whatever else in them cannot be read, and nothing of a Node without a lease', () => {
    const broken = new Map(wanted)
      .set(names.families.ipv4.publicIp, 'none')
      .set(names.families.ipv6.backendData, '{')
    const previous = previousLease(node([], broken), prefixes, publication.publicIps, names)
    expect(previous?.subnets).toEqual(ownLease(node([]), prefixes, publication).subnets)
    broken.set(names.manager, 'false')
    expect(previousLease(node([], broken), prefixes, publication.publicIps, names)).toBeUndefined()
  })
})
