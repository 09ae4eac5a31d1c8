import { type Family, familyOf } from '../../lease/net/ip.ts'
import { addressAt, type Prefix, prefixLength, prefixOrUndefined } from '../../lease/net/prefix.ts'
import type { CniConfig } from './cni_config.ts'
import { readDotenv } from './dotenv.ts'

/** flannel's subnet.env, which the CNI plugin and mk-docker-opts.sh read before a pod starts. */
export interface SubnetEnv extends CniConfig {
  /** Whether the agent masquerades; false makes the CNI plugin do it. */
  readonly ipMasq: boolean
}

const names: Readonly<Record<Family, { network: string; subnet: string }>> = {
  ipv4: { network: 'FLANNEL_NETWORK', subnet: 'FLANNEL_SUBNET' },
  ipv6: { network: 'FLANNEL_IPV6_NETWORK', subnet: 'FLANNEL_IPV6_SUBNET' },
}

/** The subnet is written as its first host address with the length: a bridge takes it as its own address. */
export function renderSubnetEnv({ families, overlayMtu, ipMasq }: SubnetEnv): string {
  const lines = families.flatMap(({ network, subnet }) => {
    const name = names[familyOf(network)]
    return [`${name.network}=${network}`, `${name.subnet}=${addressAt(subnet, 1)}/${prefixLength(subnet)}`]
  })
  return [...lines, `FLANNEL_MTU=${overlayMtu}`, `FLANNEL_IPMASQ=${ipMasq}`, ''].join('\n')
}

/** Subnets that an earlier agent wrote. Ignores what it cannot parse: the file is only a hint. */
export function readPreviousSubnets(text: string): readonly Prefix[] {
  return readPrefixes(text, 'subnet')
}

/** Networks that an earlier agent wrote. Ignores what it cannot parse. */
export function readPreviousNetworks(text: string): readonly Prefix[] {
  return readPrefixes(text, 'network')
}

export function saysIpMasq(text: string): boolean {
  return readDotenv(text).get('FLANNEL_IPMASQ') === 'true'
}

function readPrefixes(text: string, what: 'network' | 'subnet'): readonly Prefix[] {
  const values = readDotenv(text)
  const texts = Object.values(names).flatMap(name => (values.get(name[what]) ?? '').split(','))
  return texts.flatMap(prefix => prefixOrUndefined(prefix.trim()) ?? [])
}
